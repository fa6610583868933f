"""`python -m cycles.cli` is the `cycles` command."""

from cycles.cli import main

main()
