"""Which reader a form has, which fields it knows, and what `auto` takes a row for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from alignment.data.forms.answer_lists import read_graded_answers, read_ranked
from alignment.data.forms.columns import MISSING, Reading, RowFault, check_fields, look_up
from alignment.data.forms.conversations import (
    new_dialogue,
    read_alpaca,
    read_document,
    read_prompt,
    read_question_answer,
    read_turns,
)
from alignment.data.forms.pairs import read_hh, read_labelled, read_pair_messages, read_two_outputs
from alignment.data.identity import Record
from alignment.data.rows.json_lines import RawRow
from alignment.data.settings import Form, SourceSettings
from alignment.errors import DataError
from alignment.records import Dialogue, Document, LabelledAnswer, Preference

Kind = Literal["documents", "dialogues", "preferences", "prompts"]
Reader = Callable[[RawRow, Reading], Sequence[Record]]

READERS: Mapping[Form, Reader] = {
    "text": read_document,
    "document": read_document,
    "alpaca": read_alpaca,
    "question_answer": read_question_answer,
    "prompt": read_prompt,
    "sharegpt": partial(read_turns, form="sharegpt"),
    "messages": partial(read_turns, form="messages"),
    "turns": partial(read_turns, form="turns"),
    "hh": read_hh,
    "pair_messages": read_pair_messages,
    "two_outputs": read_two_outputs,
    "graded_answers": read_graded_answers,
    "ranked": read_ranked,
    "labelled": read_labelled,
}
_PROMPT = ("instruction", "input", "history", "system")
_SAFE = ("chosen_safe", "rejected_safe")
_VERDICT = ("annotator_1", "annotator_2", "annotator_3", "votes", "score_1", "score_2", "preferred")
_SCORES = ("chosen_score", "rejected_score")
_MESSAGES = ("prompt", "conversations", "messages", "role", "content")
FIELDS: Mapping[Form, tuple[str, ...]] = {
    "text": ("text",),
    "document": ("text",),
    "alpaca": (*_PROMPT, "output"),
    "question_answer": ("question", "answer", "system"),
    "prompt": ("prompt", "input", "history", "system"),
    "sharegpt": ("conversations", "role", "content", "system"),
    "messages": ("messages", "role", "content", "system"),
    "turns": ("turns", "role", "content", "system"),
    "hh": ("chosen", "rejected", "grade", *_SCORES, *_SAFE),
    "pair_messages": (*_MESSAGES, *_PROMPT, "chosen", "rejected", "grade", *_SCORES, *_SAFE),
    "two_outputs": (*_PROMPT, "output_1", "output_2", *_VERDICT, "grade", *_SAFE),
    "graded_answers": (*_PROMPT, "responses", "output", "generator", "score", "tier"),
    "ranked": (*_PROMPT, "output"),
    "labelled": ("context", "response", "label", "system"),
}
_TALK: tuple[Form, ...] = ("alpaca", "question_answer", "sharegpt", "messages", "turns")
_PAIRS: tuple[Form, ...] = ("hh", "pair_messages", "two_outputs", "graded_answers", "ranked")
FORMS_OF: Mapping[Kind, tuple[Form, ...]] = {
    "documents": ("text", "document", *_TALK),
    "dialogues": (*_TALK, "hh", "pair_messages"),
    "preferences": (*_PAIRS, "labelled"),
    "prompts": ("prompt", *_TALK, *_PAIRS, "labelled"),
}


def choose_form(settings: SourceSettings, rows: Sequence[RawRow], kind: Kind, *, is_text: bool) -> Form:
    """The source's form: the one it says, or for `auto` the one that most of its first rows look like.

    Args:
        rows: the first rows; a bad one among them looks like no form and does not count.

    Raises:
        DataError: the rows look like none, or the form is of another kind than the stage reads.
    """
    form = settings.form
    if form == "auto":
        form = "text" if is_text else _detect(settings, rows)
    if is_text != (form == "text"):
        right = "text" if is_text else "document (one text per row)"
        raise DataError(f"{settings.label}: form was {form}, this file's is {right}")
    if form not in FORMS_OF[kind]:
        raise DataError(
            f"{settings.label}: form {form} makes no {kind}; {kind} come from {', '.join(FORMS_OF[kind])}"
            + (f" (form auto took its first rows for {form})" if settings.form == "auto" else "")
        )
    check_fields(settings, FIELDS[form], form)
    return form


# What `auto` goes by, the first that fits; pairs are told apart by their values, see `detect_form`.
SIGNS: tuple[tuple[Form, tuple[str, ...]], ...] = (
    ("pair_messages", ("chosen", "rejected")),
    ("two_outputs", ("instruction", "output_1", "output_2")),
    ("graded_answers", ("instruction", "responses")),
    ("labelled", ("context", "response", "label")),
    ("sharegpt", ("conversations",)),
    ("messages", ("messages",)),
    ("turns", ("turns",)),
    ("alpaca", ("instruction", "output")),
    ("question_answer", ("question", "answer")),
    ("document", ("text",)),
    ("prompt", ("prompt",)),
)


def _detect(settings: SourceSettings, rows: Sequence[RawRow]) -> Form:
    found = Counter(form for row in rows if (form := detect_form(settings, row.value)) is not None)
    if found:
        return found.most_common(1)[0][0]
    columns = ", ".join(dict.fromkeys(str(column) for row in rows for column in row.value))
    needs = "; ".join(f"{form} reads {', '.join(fields)}" for form, fields in SIGNS)
    raise DataError(
        f"{settings.label}: the columns ({columns or 'none'}) look like no known form; say form: and map the "
        f"columns, as in columns: {{output: response}}; {needs}"
    )


def detect_form(settings: SourceSettings, row: Mapping[str, Any]) -> Form | None:
    """What a row looks like by its columns, the column map taken into account; None: like no form."""

    def value(field: str) -> Any:
        return look_up(row, settings.columns.get(field, field))

    for form, fields in SIGNS:
        if all(value(field) is not MISSING for field in fields):
            if form == "pair_messages" and all(_is_transcript(value(field)) for field in fields):
                return "hh"
            return "ranked" if form == "alpaca" and isinstance(value("output"), list) else form
    return None


def _is_transcript(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("Human:")


def as_kind(record: Record, kind: Kind, settings: SourceSettings, notes: Counter[str]) -> Record:
    """A record as the stage wants it.

    A dialogue becomes a document by its texts, one paragraph each; a preference becomes a demonstration
    by its chosen answer; a prompt is whatever stands before the last answer.

    Raises:
        RowFault: a demonstration without an answer.
    """
    if kind == "documents" and isinstance(record, Dialogue):
        texts = [record.system] if record.system else []
        text = "\n\n".join([*texts, *(turn.content for turn in record.turns)])
        opening = record.turns[0].content if record.turns else None
        return Document(text=text, source=record.source, meta=record.meta, opening=opening)
    if kind == "prompts" and not isinstance(record, Document):
        if isinstance(record, Dialogue):
            return record if record.is_prompt else _cut(record)
        return record.prompt
    if kind == "dialogues" and isinstance(record, Preference):
        return _named_anew(record.prompt.answered(record.chosen))
    if kind == "dialogues" and isinstance(record, Dialogue) and record.is_prompt:
        if settings.last_user_turn == "quarantine" or len(record.turns) < 2:
            raise RowFault(
                "a demonstration that ends with the user",
                "last_user_turn: drop cuts it to its last answer" if len(record.turns) > 1 else "it has no answer",
            )
        notes["last user turns dropped"] += 1
        return _cut(record)
    return record


def _cut(dialogue: Dialogue) -> Dialogue:
    return new_dialogue(dialogue.turns[:-1], dialogue.source, system=dialogue.system, meta=dialogue.meta)


def _named_anew(dialogue: Dialogue) -> Dialogue:
    return new_dialogue(dialogue.turns, dialogue.source, system=dialogue.system, meta=dialogue.meta)


RECORD_OF: Mapping[Kind, tuple[type, ...]] = {
    "documents": (Document,),
    "dialogues": (Dialogue,),
    "preferences": (Preference, LabelledAnswer),
    "prompts": (Dialogue,),
}
