"""What a model provider's requests and answers say about their cost. Pure: no network, no clock, no log.

A request's bytes become a `Billable` (`request.py`): what it may use at most, and the body that makes that bound real.
An answer's bytes, whole or streamed, become a `Usage` (`usage.py`). What a token costs is in `cycles/prices.py`; who
reserves, sends and settles is above.
"""
