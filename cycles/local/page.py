"""The page that `cycles serve` answers at `/`; the code is in `cycles.local.wire.page`."""

from cycles.local.wire.page import PAGE

__all__ = ["PAGE"]
