"""The journal of a schedule: the real file format, on a disk that only exists in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._core.record_format import UnusableRecord, dump, load, name_of
from cycles._core.records import Claim

if TYPE_CHECKING:
    from random import Random

    from cycles._core.records import Pending


class Disk:
    """Files by name, as a journal keeps them, with those that a crash leaves half-written.

    Attributes:
        files: What is pending, by file name.
        rejected: Records that were refused, by file name.
        quarantine: Files that were no records.
        torn: Names of the damaged files; the quarantine must hold these and no others.
    """

    def __init__(self) -> None:
        self.files: Final[dict[str, bytes]] = {}
        self.rejected: Final[set[str]] = set()
        self.quarantine: Final[set[str]] = set()
        self.torn: Final[set[str]] = set()

    def write(self, pending: Pending) -> str:
        """Keep *pending* and return its file's name."""
        name = name_of(pending)
        self.files[name] = dump(pending, None, "")
        return name

    def forget(self, pending: Pending, *, rejected: bool) -> str:
        """Drop *pending* and return its file's name."""
        name = name_of(pending)
        self.files.pop(name, None)
        if rejected:
            self.rejected.add(name)
        return name

    def read(self, name: str) -> Pending | None:
        """Return a record, or None when it is gone. A file that is no record goes to quarantine."""
        content = self.files.get(name)
        if content is None:
            return None
        try:
            return load(content, name)[0]
        except UnusableRecord:
            del self.files[name]
            self.quarantine.add(name)
            return None

    def tear(self, random: Random) -> str:
        """Leave a file that is damaged, as another program or a failing disk does; return its name."""
        name = f"v2-{len(self.torn):064x}.json"
        content = next((content for content in self.files.values() if content), b'{"version": 2, "mode": "commit"}')
        self.files[name] = content[: random.randrange(len(content))]
        self.torn.add(name)
        return name


class Single:
    """A queue of one record, which `take` reads."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk: Final = disk
        self._names: Final = [name]

    def take(self) -> tuple[Pending, Claim] | None:
        """Return the record, or None when it is gone."""
        pending = self._disk.read(self._names.pop()) if self._names else None
        return None if pending is None else (pending, Claim())
