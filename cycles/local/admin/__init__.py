"""Provisioning of tenants, keys and budgets, in Python and over HTTP."""
