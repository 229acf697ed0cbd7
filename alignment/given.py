"""What a caller of a stage's function hands over, looked at before anything is made.  No torch.

Records from files are checked where they are read; these checks are for records that are made in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from alignment.errors import DataError, UsageError
from alignment.records import GRADES, Dialogue, LabelledAnswer, Preference

R = TypeVar("R")
# record -> how one is come by
_MADE_BY = {
    "Document": "alignment.data.corpus.load_documents(path).train reads them",
    "Dialogue": "Dialogue.of(question, answer, …) makes one, load_dialogues(path).train reads them",
    "Preference": "alignment.data.corpus.load_preferences(path).train reads them",
}


def given_records(values: Iterable[R], argument: str, *kinds: type[R]) -> list[R]:
    """The records of any iterable, a generator too.

    Args:
        argument: its name in the caller's signature, for messages.
        kinds: what each must be; the first is named as what would be right.

    Raises:
        UsageError: it is no iterable of records, or one of them is something else; names the argument and the place.
    """
    right = f"{' or '.join(kind.__name__ for kind in kinds)} records are needed"
    made_by = _MADE_BY.get(kinds[0].__name__)
    hint = f"{right}; {made_by}" if made_by else right
    found: Any = values
    if found is None or isinstance(found, (str, bytes, Mapping)) or not isinstance(found, Iterable):
        part = f" (its .train is one: {argument}.train)" if hasattr(found, "train") else ""
        raise UsageError(f"{argument} is {_what(found)}{part}; a list or another iterable of {hint}")
    records = list(values)
    for i, record in enumerate(records):
        if not isinstance(record, kinds):
            raise UsageError(f"{argument}[{i}] is {_what(record)}; {hint}")
    return records


def given_prompts(values: Iterable[Dialogue], argument: str) -> list[Dialogue]:
    """Dialogues that end with the user.

    Raises:
        UsageError: as `given_records`.
        DataError: one ends with an answer.
    """
    prompts = given_records(values, argument, Dialogue)
    for i, prompt in enumerate(prompts):
        if not prompt.is_prompt:
            raise DataError(f"{_place(argument, i, prompt)} ends with an answer; .prompt() is without it")
    return prompts


def answered_dialogues(values: Iterable[Dialogue], argument: str) -> list[Dialogue]:
    """Dialogues that end with an answer, and hold no empty one.

    Raises:
        UsageError: as `given_records`.
        DataError: one ends with the user, or an answer is empty.
    """
    dialogues = given_records(values, argument, Dialogue)
    for i, dialogue in enumerate(dialogues):
        if not dialogue.turns or dialogue.is_prompt:
            raise DataError(f"{_place(argument, i, dialogue)} ends with no answer; a demonstration ends with one")
        for turn in dialogue.turns:
            if turn.role == "assistant" and not turn.content.strip():
                raise DataError(f"{_place(argument, i, dialogue)} has an empty answer; leave the dialogue out")
    return dialogues


def given_comparisons(
    values: Iterable[Preference | LabelledAnswer], argument: str
) -> list[Preference | LabelledAnswer]:
    """Preferences and labelled answers that a reward model can learn from.

    Raises:
        UsageError: as `given_records`.
        DataError: an answer is empty, the two of a pair are the same, or a grade is none of the paper's.
    """
    records: list[Preference | LabelledAnswer] = given_records(values, argument, Preference, LabelledAnswer)
    for i, record in enumerate(records):
        answers = (record.chosen, record.rejected) if isinstance(record, Preference) else (record.answer,)
        if not all(answer.strip() for answer in answers):
            raise DataError(f"{_place(argument, i, record)} has an empty answer; leave it out")
        if isinstance(record, Preference):
            if record.chosen.strip() == record.rejected.strip():
                raise DataError(f"{_place(argument, i, record)} has the same text as chosen and rejected; leave it out")
            if record.grade is not None and record.grade not in GRADES:
                raise DataError(
                    f"{_place(argument, i, record)} has the grade {record.grade!r}; "
                    f"right are {', '.join(GRADES)}, or None"
                )
    return records


def _what(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__} ({value!r:.60})"


def _place(argument: str, index: int, record: Dialogue | Preference | LabelledAnswer) -> str:
    return f"{argument}[{index}] ({record.source})"
