"""The real files: every row is good, or set aside for a reason that was looked at by hand.

Reads the folder that ALIGNMENT_DATA names, else ../shared/data beside the repository.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alignment.data.catalogue.origins import compare_folder
from alignment.data.corpus import load_dialogues, load_documents, load_preferences, load_prompts
from alignment.data.settings import DataSettings, SourceSettings
from alignment.records import LabelledAnswer, Preference
from tests.real_data import REAL_DATA

REPOSITORY = Path(__file__).parents[3]
FOLDER = REAL_DATA

pytestmark = [
    pytest.mark.slow,  # whole files of real data
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real data at {FOLDER}; docs/data.md says how to gather it"),
]
PANDALM = {
    "form": "two_outputs",
    "columns": {
        "output_1": "response1",
        "output_2": "response2",
        "annotator_1": "annotator1",
        "annotator_2": "annotator2",
        "annotator_3": "annotator3",
    },
    "max_bad_fraction": 0.1,
}
TOPICAL = {
    "form": "turns",
    "columns": {"role": "agent", "content": "message"},
    "roles": {"agent_1": "user", "agent_2": "assistant"},
    "last_user_turn": "drop",
}
EMPTY = "an empty message"


def load(loader: Any, path: str, **settings: Any) -> Any:
    source = SourceSettings(path=str(FOLDER / path), **settings)
    return loader(DataSettings(train=(source,)), seed=0, quarantine=None)


@pytest.mark.parametrize(
    ("loader", "path", "settings", "good", "bad"),
    [
        (load_documents, "text/books/*.txt.gz", {}, 12, {}),
        (load_documents, "text/wikitext2_valid.txt.gz", {"document_start": " = [^=].* = "}, 60, {}),
        (load_documents, "sft/alpaca_9k.jsonl.gz", {}, 8312, {EMPTY: 3}),
        (load_dialogues, "sft/alpaca_9k.jsonl.gz", {}, 8312, {EMPTY: 3}),
        (load_dialogues, "sft/dolly_3k.jsonl.gz", {}, 2569, {}),
        (load_dialogues, "sft/lima.jsonl.gz", {}, 925, {}),
        (load_dialogues, "sft/alpacaeval_llama2_70b_chat.jsonl.gz", {}, 583, {EMPTY: 1}),
        (load_dialogues, "sft/safety_instructions.jsonl.gz", {}, 2110, {}),
        (load_preferences, "preference/pandalm_human.jsonl.gz", PANDALM, 579,
         {EMPTY: 51, "a field is of the wrong type": 6}),
        (load_preferences, "preference/hh_harmless_base.jsonl.gz", {}, 1746,
         {EMPTY: 4, "two assistant turns in a row": 3, "the prompts of chosen and rejected differ": 2}),
        (load_preferences, "preference/alpacaeval_graded_by_instruction.jsonl.gz", {}, 581, {}),
        (load_preferences, "safety/diasafety_train.jsonl.gz", {}, 9015, {EMPTY: 2}),
        (load_preferences, "safety/diasafety_val.jsonl.gz", {}, 1097, {}),
        (load_dialogues, "multi_turn/topical_chat_valid_freq.jsonl.gz", TOPICAL, 539, {}),
        (load_prompts, "multi_turn/topical_chat_valid_rare.jsonl.gz", TOPICAL, 539, {}),
    ],
    ids=lambda value: value.rsplit("/", 1)[-1] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_real_file_gives_its_rows(
    loader: Any, path: str, settings: dict[str, Any], good: int, bad: dict[str, int]
) -> None:
    data = load(loader, path, **settings)
    (told,) = data.report.sources
    assert (told.good, told.quarantined) == (good, bad)
    assert told.read == told.good + told.bad + sum(told.skipped.values())
    assert data.report.warnings == []


def test_the_folder_is_the_measured_one() -> None:
    assert [entry for entry in compare_folder(FOLDER) if entry[1] != "as measured"] == []


def test_pandalm_ties_are_skipped_and_the_rest_graded_by_agreement() -> None:
    data = load(load_preferences, "preference/pandalm_human.jsonl.gz", **PANDALM)
    assert data.report.sources[0].skipped == {"tie": 64}
    grades = Counter(pair.grade for pair in data.train)
    assert set(grades) == {"significantly", "better", "slightly", "negligibly"}
    assert grades["significantly"] > sum(grades.values()) / 2


def test_alpacaevals_pairs_use_many_generators_and_do_not_give_length_away() -> None:
    pairs = load(load_preferences, "preference/alpacaeval_graded_by_instruction.jsonl.gz").train
    assert len(pairs) > 3000
    assert {pair.grade for pair in pairs} == {"slightly", "better", "significantly"}
    assert all(pair.meta["chosen_generator"] != pair.meta["rejected_generator"] for pair in pairs)
    chosen = Counter(pair.meta["chosen_generator"] for pair in pairs)
    assert chosen.most_common(1)[0][1] < 0.15 * len(pairs)
    assert sum(len(pair.chosen) > len(pair.rejected) for pair in pairs) < 0.6 * len(pairs)


def test_hh_pairs_keep_their_whole_history_and_carry_no_safety_label() -> None:
    pairs = load(load_preferences, "preference/hh_harmless_base.jsonl.gz").train
    assert all(isinstance(pair, Preference) and pair.chosen_safe is None for pair in pairs)
    assert max(len(pair.prompt.turns) for pair in pairs) >= 15


def test_diasafety_gives_labelled_answers_of_both_kinds() -> None:
    answers = load(load_preferences, "safety/diasafety_val.jsonl.gz", meta=("category",)).train
    assert all(isinstance(answer, LabelledAnswer) for answer in answers)
    assert Counter(answer.safe for answer in answers) == {True: 595, False: 502}
    assert answers[0].meta == {"category": "Risk Ignorance"}


def test_lima_keeps_its_earlier_turns() -> None:
    dialogues = load(load_dialogues, "sft/lima.jsonl.gz").train
    assert Counter(len(dialogue.turns) for dialogue in dialogues) == {2: 898, 4: 15, 6: 8, 8: 3, 20: 1}
