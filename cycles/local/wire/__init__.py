"""Requests and answers: routes, validation, keys, transports, the server and its page."""
