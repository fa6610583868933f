"""Serving an authority over HTTP; the code is in `cycles.local.wire.server`."""

from cycles.local.wire.server import Server, listening, serve, url_of

__all__ = ["Server", "listening", "serve", "url_of"]
