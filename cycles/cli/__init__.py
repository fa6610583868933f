"""The `cycles` command. No other room imports this one; it needs the extra `cli` (and `serve` the extra `server`)."""

from __future__ import annotations

import sys

from cycles._outside.extras import install

__all__ = ["main"]


def main() -> None:
    """Run the command, or say which extra it needs."""
    try:
        import click  # noqa: F401, PLC0415 - an extra, which may be missing
    except ModuleNotFoundError as missing:
        if missing.name != "click":
            raise
        sys.exit(f"the cycles command needs an extra: {install('cli')}")
    from cycles.cli._errors import end_unwritten  # noqa: PLC0415 - needs click
    from cycles.cli.root import cycles  # noqa: PLC0415 - as above

    try:
        cycles(prog_name="cycles")
    except OSError as error:
        end_unwritten(error)
