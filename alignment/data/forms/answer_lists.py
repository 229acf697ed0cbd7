"""Rows with many answers to one prompt into preferences: ranked lists and graded answers of generators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from alignment.data.forms.columns import MISSING, Reading, RowFault, SkippedRow, check_message, check_number, look_up
from alignment.data.forms.conversations import build_dialogue, prompt_turns
from alignment.data.forms.grading import Verdict, grade_distance, grade_scores, tier_on
from alignment.data.forms.pairs import build_preference
from alignment.data.rows.json_lines import RawRow
from alignment.data.rows.strict_json import name_of
from alignment.randomness import named_generator
from alignment.records import Dialogue, Grade, Preference


def read_ranked(row: RawRow, reading: Reading) -> list[Preference]:
    """`instruction` and `output`, a list of answers from the best to the worst."""
    prompt = build_dialogue(prompt_turns(row.value, reading), row, reading)
    listed = reading.required(row.value, "output")
    if not isinstance(listed, (list, tuple)):
        raise RowFault("a field is of the wrong type", f"output is {name_of(listed)}, a ranked list was expected")
    answers = [check_message(answer, f"answer {rank}") for rank, answer in enumerate(listed, start=1)]
    candidates = [(i, j) for i, j in combinations(range(len(answers)), 2) if answers[i] != answers[j]]
    if not candidates:
        raise RowFault("fewer than two different answers", f"{len(answers)} answers")
    return [
        build_preference(prompt, answers[i], answers[j], row, reading, grade_distance(j - i))
        for i, j in _spread(candidates, prompt, reading, owners=range(len(answers)))
    ]


def read_graded_answers(row: RawRow, reading: Reading) -> list[Preference]:
    """`instruction` and `responses`, answers of several generators, each with scores.

    Only answers of *different generators* to one instruction are paired, and the row's baselines never
    take part: against one baseline a model would win by knowing its style.
    """
    prompt = build_dialogue(prompt_turns(row.value, reading), row, reading)
    listed = reading.required(row.value, "responses")
    if not isinstance(listed, (list, tuple)):
        raise RowFault("a field is of the wrong type", f"responses is {name_of(listed)}, a list was expected")
    answers = [
        answer
        for number, value in enumerate(listed, start=1)
        if (answer := _read_answer(value, f"response {number}", reading)) is not None
    ]
    verdicts: dict[tuple[int, int], Grade | None] = {}  # (better, worse) -> grade
    for i, j in combinations(range(len(answers)), 2):
        verdict = _compare(answers[i], answers[j], reading)
        if verdict is not None:
            verdicts[(i, j) if verdict[0] == 1 else (j, i)] = verdict[1]
    if not verdicts:
        raise SkippedRow("no two answers of different generators at different tiers")
    pairs = []
    for good, poor in _spread(
        list(verdicts),
        prompt,
        reading,
        owners=[answer.generator for answer in answers],
        lengths=[len(answer.text) for answer in answers] if reading.settings.even_lengths else None,
    ):
        meta = {"chosen_generator": answers[good].generator, "rejected_generator": answers[poor].generator}
        texts = answers[good].text, answers[poor].text
        if verdicts[good, poor] is None:
            reading.notes["pairs of two scores left ungraded: grades.gaps is not given"] += 1
        pairs.append(build_preference(prompt, *texts, row, reading, verdicts[good, poor], meta))
    return pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    text: str
    generator: str
    level: float  # its tier (the higher, the better), or its score where the recipe names a score


def _read_answer(value: Any, where: str, reading: Reading) -> _Answer | None:
    """One answer; None where it cannot be paired (counted in the notes, the row stays good)."""
    if not isinstance(value, Mapping):
        raise RowFault("a field is of the wrong type", f"{where} is {name_of(value)}, an object was expected")
    columns = {field: reading.settings.columns.get(field, field) for field in ("output", "generator", "score", "tier")}
    found = {field: reading.turn_value(value, field, column) for field, column in columns.items()}
    for field in ("output", "generator"):
        if found[field] is MISSING:
            raise RowFault("a missing field", f"{columns[field]} of {where}")
    try:
        text = check_message(found["output"], where)
    except RowFault as fault:
        reading.notes[f"answers passed over: {fault.reason}"] += 1
        return None

    def score(column: str) -> float | None:
        number = look_up(value, column)
        return None if number is MISSING or number is None else check_number(number, f"{column} of {where}")

    if "score" in reading.settings.columns:
        level = score(columns["score"])
    elif "tier" in reading.settings.columns or found["tier"] is not MISSING:
        level = score(columns["tier"])
        if level is not None and level != int(level):
            raise RowFault("a grade outside its scale", f"{columns['tier']} of {where} is {level:g}, a whole number")
    else:
        level = tier_on(reading.settings.grades.ladder, score)
    if level is None:
        reading.notes["answers passed over: its scores do not tell the tier"] += 1
        return None
    return _Answer(text=text, generator=str(found["generator"]), level=level)


def _compare(first: _Answer, second: _Answer, reading: Reading) -> Verdict | None:
    """Which of two answers is better and by how much; None where they make no pair."""
    if first.generator == second.generator or first.text == second.text:
        return None
    if "score" in reading.settings.columns:
        try:
            return grade_scores(first.level, second.level, reading.settings.grades)
        except SkippedRow:
            return None
    distance = int(abs(first.level - second.level))
    return (1 if first.level > second.level else 2, grade_distance(distance)) if distance else None


def _spread(
    candidates: Sequence[tuple[int, int]],
    prompt: Dialogue,
    reading: Reading,
    *,
    owners: Sequence[Any],
    lengths: Sequence[int] | None = None,
) -> list[tuple[int, int]]:
    """At most `pairs_per_row` of the (better, worse) candidates, by a draw that is named after the prompt.

    Args:
        owners: whose each answer is; every owner is used as evenly as it can be.
        lengths: given, half of the pairs taken have the longer answer as the better one, as far as there
            are such pairs, so that length alone does not tell the better answer.
    """
    draw = named_generator(reading.seed, "pairs", prompt.id)
    left = [candidates[at] for at in draw.permutation(len(candidates))]
    used: Counter[Any] = Counter()
    taken: list[tuple[int, int]] = []
    lead = 0  # pairs taken whose better answer is longer, minus the others

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        uneven = abs(lead + _longer(pair, lengths)) if lengths else 0
        return uneven, used[owners[pair[0]]] + used[owners[pair[1]]]

    while left and len(taken) < reading.settings.pairs_per_row:
        pair = min(left, key=cost)
        left.remove(pair)
        taken.append(pair)
        used.update((owners[pair[0]], owners[pair[1]]))
        lead += _longer(pair, lengths) if lengths else 0
    return sorted(taken)


def _longer(pair: tuple[int, int], lengths: Sequence[int]) -> int:
    better, worse = lengths[pair[0]], lengths[pair[1]]
    return (better > worse) - (better < worse)
