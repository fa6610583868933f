"""A reserve that was granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles_api.models.reservation_create_response import ReservationCreateResponse


class Grant:
    """What the authority granted, and when: the lease counts from these times (docs/protocol.md, Heartbeat).

    Attributes:
        response: The create response.
        headers: Its headers, by lower-case name.
        sent_at, received_at: Monotonic seconds around the attempt that was answered.
    """

    __slots__ = ("headers", "received_at", "response", "sent_at")

    def __init__(
        self, response: ReservationCreateResponse, headers: Mapping[str, str], *, sent_at: float, received_at: float
    ) -> None:
        self.response: Final = response
        self.headers: Final = headers
        self.sent_at: Final = sent_at
        self.received_at: Final = received_at
