# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Contains endpoint functions for accessing the API"""
