"""The split of a run: a prompt's part follows from its first message alone, the same in every stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignment.data.corpus import Loaded, load_records
from alignment.data.held_out_sources import read_held_out
from alignment.data.record_types import DIALOGUES, DOCUMENTS, PREFERENCES, PROMPTS, RecordType
from alignment.data.settings import DataSettings, SourceSettings, SplitSettings
from alignment.data.split import Split
from alignment.records import Dialogue, Document, Preference

SPLIT = Split(test=0.1, validation=0.2)


def rows(path: Path, values: list[dict[str, object]]) -> SourceSettings:
    """A file of JSON Lines as a source."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return SourceSettings(path=str(path))


def chats(path: Path, numbers: range, *, spelling: str = "{}") -> SourceSettings:
    """A file of questions with answers."""
    asked = [spelling.format(f"What is the number {n} good for?") for n in numbers]
    return rows(path, [{"question": text, "answer": f"{text} For much."} for text in asked])


def pairs(path: Path, numbers: range) -> SourceSettings:
    """A file of comparisons for the same questions."""
    asked = [f"What is the number {n} good for?" for n in numbers]
    return rows(path, [{"prompt": text, "chosen": "Much.", "rejected": "Nothing."} for text in asked])


def load(
    record_type: RecordType[object], *train: SourceSettings, split: Split | None = SPLIT, **settings: object
) -> Loaded[object]:
    """Records of sources under the run's split."""
    data = DataSettings.model_validate({"train": train, **settings})
    return load_records(record_type, data, seed=0, quarantine=None, split=split)


def openings(records: list[object]) -> set[str]:
    """What dialogues, pairs and the documents made of dialogues ask first."""
    found = set()
    for record in records:
        if isinstance(record, Document):
            found.add(record.text.split("\n\n")[0].casefold())
        elif isinstance(record, (Dialogue, Preference)):
            prompt = record if isinstance(record, Dialogue) else record.prompt
            found.add(prompt.turns[0].content.strip().casefold())
    return found


def test_what_one_stage_holds_out_no_stage_trains_on(tmp_path: Path) -> None:
    source, shouted = (
        chats(tmp_path / "chats.jsonl", range(300)),
        chats(tmp_path / "SHOUTED.jsonl", range(300), spelling="  {}\t"),
    )
    stages = [
        load(DOCUMENTS, source, held_out_fraction=0.05),
        load(DIALOGUES, shouted, held_out_fraction=0.02),
        load(PREFERENCES, pairs(tmp_path / "pairs.jsonl", range(300))),
        load(PROMPTS, source),
    ]
    trained = set[str]().union(*(openings(stage.train) for stage in stages))
    held = set[str]().union(*(openings([*stage.held_out, *stage.test]) for stage in stages))
    assert len(trained) > 150
    assert len(held) > 50
    assert not trained & held


def test_the_test_part_is_nobodys_validation(tmp_path: Path) -> None:
    source = chats(tmp_path / "chats.jsonl", range(300))
    stages = [load(kind, source) for kind in (DOCUMENTS, DIALOGUES, PROMPTS)]
    test = [openings(stage.test) for stage in stages]
    assert test[0] == test[1] == test[2] != set()
    for stage in stages:
        assert not openings(stage.test) & openings([*stage.held_out, *stage.validation, *stage.train])


def test_every_record_is_trained_on_held_out_or_kept_apart_and_counted(tmp_path: Path) -> None:
    found = load(DIALOGUES, chats(tmp_path / "chats.jsonl", range(300)), held_out_fraction=0.05)
    report = found.report
    assert report.apart > 0  # of the validation part the stage looks at a quarter
    assert report.train + report.validation + report.test + report.apart == 300
    assert report.validation < report.apart


def test_a_dialogues_later_turns_do_not_move_it(tmp_path: Path) -> None:
    def talk(n: int, more: str) -> dict[str, object]:
        texts = [f"opening {n}", "Yes?", more, "Good."]
        turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
        return {"messages": turns}

    source = rows(tmp_path / "talks.jsonl", [talk(n % 100, f"And {n}?") for n in range(300)])
    found = load(DIALOGUES, source)
    assert not openings(found.train) & openings([*found.validation, *found.test])


def test_texts_that_no_dialogue_made_are_held_out_by_their_own_fraction_only(tmp_path: Path) -> None:
    source = rows(tmp_path / "texts.jsonl", [{"text": f"The {n}th tale."} for n in range(200)])
    assert load(DOCUMENTS, source).report.train == 200
    half = load(DOCUMENTS, source, held_out_fraction=0.5)
    assert 60 < half.report.held_out < 140
    assert half.report.train + half.report.held_out == 200


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_handful_of_prompts_fills_every_part_and_says_so(tmp_path: Path, count: int) -> None:
    found = load(DIALOGUES, chats(tmp_path / "few.jsonl", range(count)), split=Split(test=0.001, validation=0.001))
    assert [len(part) for part in (found.train, found.validation, found.test)] == [count - 2, 1, 1]
    assert any("so few prompts" in note for note in found.report.warnings)


def test_one_dialogue_is_trained_on_wherever_it_falls(tmp_path: Path) -> None:
    found = load(DIALOGUES, chats(tmp_path / "one.jsonl", range(1)), split=Split(test=0.49, validation=0.5))
    assert (len(found.train), len(found.held_out), len(found.test)) == (1, 0, 0)


def test_held_out_files_stay_what_they_are_and_are_the_test_part(tmp_path: Path) -> None:
    held = chats(tmp_path / "held.jsonl", range(1000, 1040))
    found = load(PROMPTS, chats(tmp_path / "chats.jsonl", range(300)), held_out=[held])
    of_the_file = {text for text in openings(found.test) if len(text) > len("what is the number 999 good for?")}
    assert len(of_the_file) == 40
    assert not of_the_file & openings(found.validation)
    assert found.validation


def test_a_held_out_file_alone_serves_choice_and_evaluation_a_half_each(tmp_path: Path) -> None:
    held = chats(tmp_path / "held.jsonl", range(1000, 1040))
    nothing = Split(test=0.0, validation=0.0)
    found = load(PROMPTS, chats(tmp_path / "chats.jsonl", range(300)), held_out=[held], split=nothing)
    assert not openings(found.validation) & openings(found.test)
    assert len(found.validation) + len(found.test) == 40
    assert min(len(found.validation), len(found.test)) > 8


def test_a_held_out_file_of_one_stage_is_left_out_of_anothers_training_and_counted(tmp_path: Path) -> None:
    compared = DataSettings(
        train=(pairs(tmp_path / "a.jsonl", range(5)),), held_out=(pairs(tmp_path / "b.jsonl", range(40, 60)),)
    )
    held_out = read_held_out([(PREFERENCES, compared)], [], SPLIT, seed=0)
    split = Split(test=0.0, validation=0.0, held_out=held_out)
    found = load(DIALOGUES, chats(tmp_path / "chats.jsonl", range(100), spelling=" {} "), split=split)
    assert (found.report.train, found.report.repeated) == (80, 20)
    texts = load(DOCUMENTS, chats(tmp_path / "chats.jsonl", range(100)), split=split)
    assert (texts.report.train, texts.report.repeated) == (80, 20)


def test_a_dialogue_that_asks_a_held_out_prompt_at_a_later_turn_is_left_out(tmp_path: Path) -> None:
    def talk(*texts: str) -> dict[str, object]:
        turns = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
        return {"messages": turns}

    held = DataSettings(
        train=(chats(tmp_path / "a.jsonl", range(2)),),
        held_out=(rows(tmp_path / "h.jsonl", [talk("a", "b", "c", "d")]),),
    )
    split = Split(test=0, validation=0, held_out=read_held_out([(DIALOGUES, held)], [], SPLIT, seed=0))
    longer = rows(tmp_path / "t.jsonl", [talk("a", "b", "c", "x", "e", "f"), talk("a", "b", "z", "x"), talk("c", "d")])
    found = load(DIALOGUES, longer, split=split)
    assert found.report.repeated == 1
    assert found.report.train == 2


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        SplitSettings(test=0.5, validation=0.5)
