"""What stands beneath the public faces: how a client reaches its authority and what it keeps up, a section as it runs.

Also: keyword arguments to requests, lists, the default client. It knows no face: `Client`, `Reservation`, `Guard`.
"""
