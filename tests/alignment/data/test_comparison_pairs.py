"""Comparisons that teach nothing are set aside and counted by name, and stop no stage (Llama 2 paper, 3.2.1)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.data.comparisons import CONTRADICTION, UNSAFE_CHOSEN, set_aside
from alignment.data.corpus import Loaded, load_dialogues, load_preferences
from alignment.data.settings import DataSettings, SourceSettings
from alignment.records import Dialogue, LabelledAnswer, Preference, Source, Turn

Row = dict[str, object]


def pair(prompt: str, chosen: str, rejected: str, **more: object) -> Row:
    """A row of a file of comparisons."""
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def load(folder: Path, rows: list[Row], held_out: list[Row] | None = None) -> Loaded[Preference | LabelledAnswer]:
    """The comparisons of a file, with its quarantine file beside it."""
    sources = {}
    for name, values in (("train", rows), ("held_out", held_out or [])):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
        sources[name] = (SourceSettings(path=str(path)),) if values else ()
    return load_preferences(DataSettings.model_validate(sources), seed=0, quarantine=folder / "aside.jsonl")


def chosen(found: Loaded[Preference | LabelledAnswer]) -> list[str]:
    """The better answers that stayed."""
    return [record.chosen for record in found.train if isinstance(record, Preference)]


def entries(folder: Path) -> list[tuple[int, str]]:
    """Line and reason of what the quarantine file holds."""
    lines = (folder / "aside.jsonl").read_text().splitlines()
    return [(entry["line"], entry["reason"]) for entry in map(json.loads, lines)]


def test_an_unsafe_answer_preferred_to_a_safe_one_is_set_aside(tmp_path: Path) -> None:
    labels = [(True, False), (True, True), (False, False), (False, True)]
    rows = [
        pair(f"q {n}", f"yes {n}", "no", chosen_safe=better, rejected_safe=worse)
        for n, (better, worse) in enumerate(labels)
    ]
    found = load(tmp_path, rows)
    assert chosen(found) == ["yes 0", "yes 1", "yes 2"]
    assert found.report.set_aside == {UNSAFE_CHOSEN: 1}
    assert entries(tmp_path) == [(4, UNSAFE_CHOSEN)]


def test_a_pair_without_both_labels_stays(tmp_path: Path) -> None:
    rows = [pair("q", "a", "b", chosen_safe=False), pair("r", "a", "b", rejected_safe=True), pair("s", "a", "b")]
    assert len(load(tmp_path, rows).train) == 3


def test_pairs_that_prefer_opposite_answers_to_one_prompt_are_both_set_aside(tmp_path: Path) -> None:
    rows = [pair("Why?", "A", "B"), pair("Why?", "C", "B"), pair(" why? ", "B ", "A"), pair("How?", "B", "A")]
    found = load(tmp_path, rows)
    assert chosen(found) == ["C", "B"]
    assert found.report.set_aside == {CONTRADICTION: 2}
    assert entries(tmp_path) == [(1, CONTRADICTION), (3, CONTRADICTION)]


def test_a_held_out_pair_that_contradicts_a_trained_one_is_found_too(tmp_path: Path) -> None:
    found = load(tmp_path, [pair("p", "A", "B"), pair("q", "A", "B")], [pair("p", "B", "A"), pair("r", "B", "A")])
    assert (len(found.train), len(found.held_out)) == (1, 1)
    assert found.report.set_aside == {CONTRADICTION: 2}


def test_the_same_pair_twice_counts_once(tmp_path: Path) -> None:
    found = load(tmp_path, [pair("p", "A", "B"), pair("p", "A", "B", grade="better"), pair("q", "A", "B")])
    assert (chosen(found), found.report.duplicates) == (["A", "A"], 1)


def test_an_unsafe_preference_does_not_take_the_right_one_with_it(tmp_path: Path) -> None:
    wrong = pair("p", "bad", "good", chosen_safe=False, rejected_safe=True)
    found = load(tmp_path, [wrong, pair("p", "good", "bad", chosen_safe=True, rejected_safe=False)])
    assert chosen(found) == ["good"]
    assert found.report.set_aside == {UNSAFE_CHOSEN: 1}


def test_many_of_them_stop_no_stage(tmp_path: Path) -> None:
    rows = [pair(f"q {n}", "a", "b", chosen_safe=False, rejected_safe=True) for n in range(50)]
    found = load(tmp_path, [*rows, pair("q", "a", "b")])
    assert (len(found.train), found.report.bad) == (1, 0)


def test_they_make_demonstrations_as_before(tmp_path: Path) -> None:
    load(tmp_path, [pair("p", "A", "B"), pair("p", "B", "A"), pair("q", "A", "B")])
    data = DataSettings(train=(SourceSettings(path=str(tmp_path / "train.jsonl")),))
    assert len(load_dialogues(data, seed=0, quarantine=None).train) == 3


@pytest.mark.parametrize(("file", "stay"), [("world:minutes/0/preferences.train", 2), ("mine.jsonl", 0)])
def test_the_towns_annotators_may_differ(file: str, stay: int) -> None:
    prompt = Dialogue(turns=(Turn(role="user", content="p"),), source=Source(file=file, line=1), id="p")
    records = [
        Preference(prompt=prompt, chosen=a, rejected=b, source=prompt.source) for a, b in (("A", "B"), ("B", "A"))
    ]
    assert len(set_aside(records, [])[0]) == stay
