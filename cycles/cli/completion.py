"""`cycles completion`: the script with which a shell completes commands, options and their choices."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_CYCLES_COMPLETE"
"""The variable that the script sets to ask the command for completions; click derives it from the program's name."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash (4.4 or newer): put `eval "$(cycles completion bash)"` into ~/.bashrc; zsh: the same with zsh, into ~/.zshrc;
    fish: write it to ~/.config/fish/completions/cycles.fish.

    \b
    Example:
      eval "$(cycles completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice is among those that click has
    click.echo(kind(ctx.find_root().command, {}, "cycles", VARIABLE).source())
