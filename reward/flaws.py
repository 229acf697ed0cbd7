"""Right answers and flawed copies of them that a user gives in a file: what a reward model is asked to tell apart.

A row is a prompt, the right answer, and either one flawed copy with the flaw's name or several by name:

    {"prompt": "Who bakes?", "right": "The baker does.", "flawed": "The miller does.", "flaw": "wrong"}
    {"prompt": "Who bakes?", "right": "The baker does.", "flawed": {"rude": "The baker, you fool.", "refusal": "No."}}

The flaws `refusal` and `comply` have a meaning of their own: the checks before RLHF ask by them whether an answer is
preferred to a refusal, and a refusal to compliance.  No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.data.forms.columns import MISSING, Reading, RowFault, check_message
from alignment.data.forms.conversations import read_prompt
from alignment.data.rows.files import read_rows
from alignment.data.rows.find import find_files
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.lines import BlankLines
from alignment.data.rows.strict_json import name_of
from alignment.data.settings import SourceSettings
from alignment.errors import DataError
from alignment.records import Dialogue
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import Tokenizer

UNNAMED = "flawed"  # a copy whose flaw has no name


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One prompt with its right answer and others.

    Attributes:
        others: name of a flaw -> the answer that has it.
        harmless: names among them that are no flaw (a courteous answer beside a plain one).
        origin: where it comes from: a file, or a part of the embedded world.
    """

    prompt: Dialogue
    right: str
    others: Mapping[str, str]
    harmless: frozenset[str] = frozenset()
    origin: str = ""


def read_flaws(path: str) -> list[Probe]:
    """Read a file (or a glob's files) of flawed copies.

    Raises:
        DataError: the first row that is none, with file, line and what would be right; or a file without rows.
    """
    settings = SourceSettings(path=path, form="prompt")
    reading, probes = Reading(settings, seed=0), []
    for file in find_files(settings):
        for event in read_rows(file, settings):
            if isinstance(event, BlankLines):
                continue
            if not isinstance(event, RawRow):
                raise DataError(f"{event.file}:{event.line}: {event.reason} ({event.detail})")
            try:
                probes.append(_probe(event, reading))
            except RowFault as fault:
                raise DataError(f"{event.source}: {fault}; right is {_RIGHT}") from None
    if not probes:
        raise DataError(f"{path} holds no row; right is {_RIGHT}")
    return probes


def require_room(probes: Sequence[Probe], tokenizer: Tokenizer, context_length: int) -> None:
    """See that every prompt with each of its answers fits.

    Raises:
        DataError: the first that does not, with file and line.
    """
    for probe in probes:
        prompt = len(render_prompt(probe.prompt, tokenizer))
        for name, text in (("right", probe.right), *probe.others.items()):
            length = prompt + len(answer_ids(text, tokenizer, f"{probe.prompt.source}: {name}"))
            if length > context_length:
                raise DataError(
                    f"{probe.prompt.source}: prompt and answer ({name}) are {length:,} tokens long; the reward model "
                    f"takes {context_length:,}"
                )


_RIGHT = '{"prompt": …, "right": …, "flawed": …, "flaw": its name}, or "flawed": {name: answer, …}'


def _probe(row: RawRow, reading: Reading) -> Probe:
    (prompt,) = read_prompt(row, reading)
    right, found = reading.message(row.value, "right"), reading.required(row.value, "flawed")
    if isinstance(found, str):
        name = reading.value(row.value, "flaw")
        found = {UNNAMED if name is MISSING or name is None else _name(name): found}
    if not isinstance(found, Mapping):
        raise RowFault("a field is of the wrong type", f"flawed is {name_of(found)}, a text or a mapping was expected")
    others = {_name(name): check_message(text, f"flawed.{name}") for name, text in found.items()}
    if not others:
        raise RowFault("a field is empty", "flawed")
    if same := [name for name, text in others.items() if text.split() == right.split()]:
        raise RowFault("a flawed copy that equals the right answer", f"flawed.{same[0]}")
    return Probe(prompt=prompt, right=right, others=others, origin=Path(row.source.file).name)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 60:
        raise RowFault("a flaw's name is a short text", f"it was {str(value)[:60]!r}")
    return value.strip()
