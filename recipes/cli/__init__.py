"""The command line `align`; its entry point is `main`."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    from recipes.cli.app import main as run_command_line

    run_command_line(arguments)
