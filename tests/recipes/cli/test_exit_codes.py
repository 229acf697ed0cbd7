"""Every exit code means one thing, and docs/reliability.md says what."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

from alignment.errors import AlignmentError, Interrupted, Waiting
from recipes.cli.errors import EXIT_INTERRUPTED, run_command

TABLE = Path(__file__).parents[3] / "docs/reliability.md"


def every_error(above: type[AlignmentError] = AlignmentError) -> Iterator[type[AlignmentError]]:
    for error in above.__subclasses__():
        yield error
        yield from every_error(error)


def told() -> set[int]:
    """The codes of the table."""
    chapter = TABLE.read_text(encoding="utf-8").split("## How a command ends\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", chapter, flags=re.MULTILINE)
    return {int(code) for cell in cells for code in cell.split(",")}


def test_the_documents_tell_every_code_and_no_other() -> None:
    ends = {error.exit_code for error in every_error() if error.__module__.startswith("alignment.")}
    stopped = {Interrupted(number).exit_code for number in (signal.SIGINT, signal.SIGTERM)}
    assert told() == {0, *ends, *stopped}


def test_a_script_can_tell_waiting_for_people_from_a_stop() -> None:
    def waits() -> None:
        raise Waiting("2 of 5 items wait")

    others = {error.exit_code for error in every_error() if error is not Waiting}
    assert run_command(waits) not in {0, EXIT_INTERRUPTED, *others}
