"""Rows into preferences: HH-RLHF transcripts, message pairs, two judged outputs; labelled answers.

Whatever the form, one thing comes out: a prompt that ends with the user, the better answer, the worse one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from alignment.data.forms.columns import MISSING, Reading, RowFault, check_message, check_number
from alignment.data.forms.conversations import Said, build_dialogue, listed_turns, prompt_turns, system_turn
from alignment.data.forms.grading import Verdict, grade_scores, grade_votes, grade_word
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.strict_json import name_of
from alignment.records import Dialogue, Grade, LabelledAnswer, Preference

_ANNOTATOR = re.compile(r"annotator_[0-9]+")
_VERDICTS = (
    "right are annotator_1, annotator_2, … or votes (each 0 for a tie, 1 or 2), score_1 and score_2, or preferred"
)
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def read_hh(row: RawRow, reading: Reading) -> list[Preference]:
    """`chosen` and `rejected`, each a whole transcript; what they share is the prompt."""
    chosen, rejected = (_transcript(reading.text(row.value, field), field) for field in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        same = next(
            (at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b),
            min(len(chosen), len(rejected)),
        )
        raise RowFault("the prompts of chosen and rejected differ", f"from turn {same + 1}")
    prompt = build_dialogue(chosen[:-1], row, reading)
    return [build_preference(prompt, chosen[-1][1], rejected[-1][1], row, reading, _grade(row, reading))]


def _transcript(text: str, field: str) -> list[Said]:
    parts = _SPEAKER.split(text if text.startswith("\n\n") else "\n\n" + text)
    if parts[0].strip() or len(parts) < 3:
        raise RowFault("not an HH transcript", f"{field} begins with {text[:30]!r}, not with 'Human:'")
    said = [
        ("user" if who == "Human" else "assistant", check_message(content.strip(), f"{field}, turn {number}"))
        for number, (who, content) in enumerate(zip(parts[1::2], parts[2::2], strict=True), start=1)
    ]
    if said[-1][0] != "assistant":
        raise RowFault("a transcript that does not end with the assistant", field)
    return said


def read_pair_messages(row: RawRow, reading: Reading) -> list[Preference]:
    """A prompt (text or turns) with `chosen` and `rejected` (text, a message, or whole dialogues)."""
    chosen, rejected = (_answer(row.value, field, reading) for field in ("chosen", "rejected"))
    said: list[Said] = system_turn(row.value, reading)
    for field in ("prompt", "conversations", "messages", "instruction"):
        value = reading.value(row.value, field)
        if value is MISSING or value is None:
            continue
        if isinstance(value, (list, tuple)):
            said += _turns(value, reading, field)
        else:
            said = prompt_turns(row.value, reading, field=field)
        if chosen[:-1] and chosen[: len(said)] == said:  # both whole dialogues beside the prompt
            chosen, rejected = chosen[len(said) :], rejected[len(said) :]
        break
    else:
        if not chosen[:-1]:
            raise RowFault("a missing field", "prompt (or conversations, messages, instruction)")
    if chosen[:-1] != rejected[:-1] or not rejected:
        raise RowFault("the prompts of chosen and rejected differ")
    prompt = build_dialogue([*said, *chosen[:-1]], row, reading)
    return [build_preference(prompt, chosen[-1][1], rejected[-1][1], row, reading, _grade(row, reading))]


def _answer(value: Mapping[str, Any], field: str, reading: Reading) -> list[Said]:
    """An answer as turns of which the last is the assistant's."""
    found = reading.required(value, field)
    if isinstance(found, Mapping):
        found = [found]
    if not isinstance(found, (list, tuple)):
        return [("assistant", reading.message(value, field))]
    said = _turns(found, reading, field)
    if said[-1][0] != "assistant":
        raise RowFault("an answer that is not the assistant's", field)
    return said


def _turns(value: Sequence[Any], reading: Reading, name: str) -> list[Said]:
    """Turns of ShareGPT's or OpenAI's kind, by what the first one has."""
    first = value[0] if value and isinstance(value[0], Mapping) else {}
    role, content = ("from", "value") if "from" in first else ("role", "content")
    return listed_turns(value, reading, role=role, content=content, name=name)


def read_two_outputs(row: RawRow, reading: Reading) -> list[Preference]:
    """`instruction`, `output_1`, `output_2` and a verdict: annotators, two scores, or which is preferred."""
    prompt = build_dialogue(prompt_turns(row.value, reading), row, reading)
    answers = (reading.message(row.value, "output_1"), reading.message(row.value, "output_2"))
    better, grade = _verdict(row, reading)
    chosen, rejected = answers if better == 1 else answers[::-1]
    return [build_preference(prompt, chosen, rejected, row, reading, grade)]


def _verdict(row: RawRow, reading: Reading) -> Verdict:
    """Which of two outputs is better: by annotators, else by two scores, else as the row says."""
    votes = _votes(row, reading)
    if votes is not None:
        return grade_votes(votes)
    if any(reading.value(row.value, field) is not MISSING for field in ("score_1", "score_2")):
        first, second = reading.number(row.value, "score_1"), reading.number(row.value, "score_2")
        better, gap_grade = grade_scores(first, second, reading.settings.grades)
        return better, _grade(row, reading) or _told(gap_grade, reading)
    try:
        preferred = reading.required(row.value, "preferred")  # asked for, so that a file without one names its columns
    except RowFault as fault:
        raise (RowFault("a missing verdict", _VERDICTS) if fault.reason == "a missing field" else fault) from None
    better, _ = grade_votes([check_number(preferred, "preferred")])
    return better, _grade(row, reading)


def _votes(row: RawRow, reading: Reading) -> list[float] | None:
    """Several annotators' votes, of a column each (by the column map, else by name) or of one list; None: no such."""
    mapped = [key for key in reading.settings.columns if key.startswith("annotator_")]
    names = mapped or [key for key in row.value if isinstance(key, str) and _ANNOTATOR.fullmatch(key)]
    if names:
        return [reading.number(row.value, key) for key in sorted(names)]
    found = reading.value(row.value, "votes")
    if found is MISSING:
        return None
    if not isinstance(found, (list, tuple)) or not found:
        raise RowFault("a field is of the wrong type", f"votes is {name_of(found)}, a list of votes was expected")
    return [check_number(vote, f"vote {number}") for number, vote in enumerate(found, start=1)]


def _told(grade: Grade | None, reading: Reading) -> Grade | None:
    """A grade by the gap of two scores; that there are no gaps to grade by is counted in the report."""
    if grade is None:
        reading.notes["pairs of two scores left ungraded: grades.gaps is not given"] += 1
    return grade


def read_labelled(row: RawRow, reading: Reading) -> list[LabelledAnswer]:
    """`context`, `response` and `label`, whether the response is safe."""
    said = [*system_turn(row.value, reading), ("user", reading.message(row.value, "context"))]
    prompt = build_dialogue(said, row, reading)
    answer = reading.message(row.value, "response")
    safe = _label(reading.required(row.value, "label"), reading, "label")
    return [LabelledAnswer(prompt=prompt, answer=answer, safe=safe, source=row.source, meta=prompt.meta)]


def _label(value: Any, reading: Reading, name: str) -> bool:
    labels = {text.casefold(): safe for text, safe in reading.settings.labels.items()}
    text = str(value).strip().casefold()
    if text not in labels:
        raise RowFault("a label outside its scale", f"{name} is {str(value)[:40]!r}; right are {', '.join(labels)}")
    return labels[text]


def _grade(row: RawRow, reading: Reading) -> Grade | None:
    """The row's own grade; else, of a pair whose answers have a score each, the grade of the gap."""
    value = reading.value(row.value, "grade")
    if value is not MISSING and value is not None:
        return grade_word(value, reading.settings.grades)
    scores = ("chosen_score", "rejected_score")
    if all(reading.value(row.value, field) is MISSING for field in scores):
        return None
    chosen, rejected = (reading.number(row.value, field) for field in scores)
    better, grade = grade_scores(chosen, rejected, reading.settings.grades)
    if better == 2:
        raise RowFault("the rejected answer has the higher score", f"chosen {chosen:g}, rejected {rejected:g}")
    return _told(grade, reading)


def build_preference(
    prompt: Dialogue,
    chosen: str,
    rejected: str,
    row: RawRow,
    reading: Reading,
    grade: Grade | None,
    meta: Mapping[str, Any] | None = None,
) -> Preference:
    if not prompt.is_prompt:
        raise RowFault("a prompt that does not end with the user")
    if chosen.strip() == rejected.strip():  # as the chat format has them
        raise RowFault("chosen and rejected are equal")
    safe: dict[str, bool | None] = {}
    for field in ("chosen_safe", "rejected_safe"):
        value = reading.value(row.value, field)
        safe[field] = None if value is MISSING or value is None else _label(value, reading, field)
    return Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        source=row.source,
        grade=grade,
        chosen_safe=safe["chosen_safe"],
        rejected_safe=safe["rejected_safe"],
        meta={**prompt.meta, **(meta or {})},
    )
