"""The metered HTTP clients of `cycles.wrap`: a transport reserves before each request that bills, and settles after it.

What a request bills is read in `_metering`, and priced in `prices.py`; the section of each attempt is a guard's.
"""
