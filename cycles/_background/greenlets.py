"""The background where threads are greenlets: gevent's or eventlet's, after their monkey-patching.

There a thread with an event loop of its own would show that loop as running to all greenlets of the process. So one
greenlet waits for what is due, and each job is done in a blocking way, in a greenlet of its own.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from cycles._background.agenda import Agenda
from cycles._drivers import blocking

if TYPE_CHECKING:
    from cycles._background.agenda import Job
    from cycles._drivers.world import World


class GreenBeats:
    """The renewals of one client; begun when it is made."""

    def __init__(self) -> None:
        self.agenda: Final = Agenda()
        self._woken: Final = threading.Event()
        self._stopped = False
        threading.Thread(target=self._serve, name="cycles-heartbeats", daemon=True).start()

    def wake_soon(self) -> None:
        """Let what is due begin."""
        self._woken.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._woken.set()

    def _serve(self) -> None:
        while not self._stopped:
            self._woken.clear()
            while (entry := self.agenda.begin()) is not None:
                threading.Thread(target=self._renew, args=entry, name="cycles-heartbeat", daemon=True).start()
            self._woken.wait(self.agenda.wait())

    def _renew(self, job: Job, world: World) -> None:
        try:
            delay = blocking.run(job.attempt(), world)
            if delay is not None and not self._stopped:
                self.agenda.add(time.monotonic() + delay, job, world)
        finally:
            self.agenda.ended(job)
            self._woken.set()
