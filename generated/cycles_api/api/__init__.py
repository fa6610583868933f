# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Contains methods for accessing the API"""
