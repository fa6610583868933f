"""docs/errors.md, made from cycles/errors.py: `python -m tests.docs.errors_page` writes it."""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING, Final

from cycles import errors
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = ROOT / "docs" / "errors.md"
_CITED: Final = re.compile(r"docs/([\w-]+)\.md, ([A-Z][\w ]*)")

INTRO: Final = """# Errors

Everything that the package raises is a `cycles.CyclesError`. Its text says what happened and what to do. It never holds
an API key. The page is made from the code.

```python
import cycles
from cycles import usd

try:
    with cycles.Guard(usd("0.05"), action=("llm.completion", "gpt-4o")):
        print("your model call")
except cycles.BudgetExceeded as refused:
    print(refused.scope, refused.remaining, refused.retry_after)
except cycles.AuthorityUnavailable as away:
    print(away, away.is_retryable)
```

"""


def classes(kind: type[errors.CyclesError], depth: int = 0) -> Iterator[tuple[int, type[errors.CyclesError]]]:
    """Yield *kind* and everything below it, as deep as it stands."""
    yield depth, kind
    public = [below for below in kind.__subclasses__() if below.__name__ in errors.__all__]
    for below in sorted(public, key=lambda below: inspect.getsourcelines(below)[1]):
        yield from classes(below, depth + 1)


def codes_of(kind: type[errors.CyclesError]) -> str:
    """Return the codes and statuses that arrive as *kind*."""
    codes = [f"`{code}`" for code, raised in {**errors.DENIALS, **errors.ERRORS}.items() if raised is kind]
    return ", ".join(codes + [str(status) for status, raised in errors.STATUSES.items() if raised is kind])


def cell(text: str | None) -> str:
    """Return the first paragraph of *text*, as a table shows it: a section that it cites is a link."""
    line = " ".join((text or "").split("\n\n", maxsplit=1)[0].split()).replace("|", "\\|")
    return _CITED.sub(lambda cited: f"[{cited[2]}]({cited[1]}.md#{cited[2].lower().replace(' ', '-')})", line)


def render() -> str:
    """Return the page as the code has it today."""
    lines = ["## The classes", "", "| class | means | codes | again? |", "|---|---|---|---|"]
    for depth, kind in classes(errors.CyclesError):
        indent = "&nbsp;" * 4 * depth
        again = "may help" if kind.retryable else ""
        lines.append(f"| {indent}`{kind.__name__}` | {cell(kind.__doc__)} | {codes_of(kind)} | {again} |")
    lines += ["", "## What each of them has", "", "| attribute | meaning |", "|---|---|"]
    told = inspect.cleandoc(errors.CyclesError.__doc__ or "").partition("Attributes:\n")[2].partition("\n\nExample:")[0]
    for line in inspect.cleandoc(told).splitlines():
        name, _, meaning = line.strip().partition(": ")
        lines.append(f"| `{name}` | {cell(meaning)} |")
    lines.append("| `is_retryable` | Whether asking again may help: its class says so, or the authority said when. |")
    lines.append("| `remedy` | What to do about it, where the message does not say so; `str()` has both. |")
    return INTRO + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
