"""Helpers that tests of several rooms share; what only one room needs stands beside its tests."""
