"""Held-out rows are found word for word in texts to pretrain on, in time linear in the texts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from alignment.data.corpus import Loaded, load_records
from alignment.data.held_out import Passages
from alignment.data.held_out_sources import read_held_out
from alignment.data.record_types import DIALOGUES, DOCUMENTS
from alignment.data.settings import DataSettings, SourceSettings
from alignment.data.split import Split
from alignment.records import Document

QUESTION = "Why did the old miller of Brindle never sell his second horse?"
ANSWER = "He never sold it because " + " and ".join(f"reason {n} was good" for n in range(8)) + "."


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """A run whose one question with its answer is in the test part."""
    row = {"question": QUESTION, "answer": ANSWER}
    (tmp_path / "chat.jsonl").write_text(json.dumps(row) + "\n")
    chat = DataSettings(train=(SourceSettings(path=str(tmp_path / "chat.jsonl")),))
    everything = Split(test=1.0, validation=0.0)
    return Split(test=0.0, validation=0.0, held_out=read_held_out([], [(DIALOGUES, chat)], everything, seed=0))


def pretrained(path: Path, texts: list[str], split: Split) -> Loaded[Document]:
    """Texts as a file of documents, under a split."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    data = DataSettings(train=(SourceSettings(path=str(path)),))
    return load_records(DOCUMENTS, data, seed=0, quarantine=None, split=split)


@pytest.mark.parametrize(
    "text",
    [
        f"Some talk.\n\n### Instruction: {QUESTION}\n\nAnd more.",
        f"Once upon a time.\n{QUESTION.upper()}",
        QUESTION.replace(" ", "\n"),
        f"He thought for long.\n{ANSWER}\nThen he went home.",
    ],
    ids=["labelled", "in capitals", "wrapped", "the answer"],
)
def test_a_text_in_which_a_held_out_message_stands_is_left_out_and_counted(
    tmp_path: Path, split: Split, text: str
) -> None:
    found = pretrained(tmp_path / "texts.jsonl", ["A tale of a mill.", text], split)
    assert [document.text for document in found.train] == ["A tale of a mill."]
    assert found.report.repeated == 1


@pytest.mark.parametrize(
    "text", [QUESTION.replace("second", "third"), " ".join(QUESTION.split()[:-1]), " ".join(ANSWER.split()[:-1])]
)
def test_a_text_that_is_only_like_a_held_out_message_stays(tmp_path: Path, split: Split, text: str) -> None:
    assert pretrained(tmp_path / "texts.jsonl", [text], split).report.repeated == 0


def test_short_messages_are_not_looked_for() -> None:
    passages = Passages(shortest=4)
    passages.add("Who are you?")
    assert not passages.in_words(["who", "are", "you?"])
    passages.add("Who are you now?")
    assert passages.in_words(["say:", "who", "are", "you", "now?", "he"])


def test_a_shared_refusal_does_not_cost_a_dialogue_its_text(tmp_path: Path, split: Split) -> None:
    row = {"question": "Another question?", "answer": ANSWER}
    (tmp_path / "other.jsonl").write_text(json.dumps(row) + "\n")
    data = DataSettings(train=(SourceSettings(path=str(tmp_path / "other.jsonl")),))
    assert load_records(DOCUMENTS, data, seed=0, quarantine=None, split=split).report.train == 1


def test_the_search_does_not_take_longer_for_more_messages_that_begin_alike() -> None:
    words = ("write a short story about the number of wheels " * 2_000).split()

    def seconds(messages: int) -> float:
        passages = Passages(shortest=8)
        for n in range(messages):
            passages.add(f"Write a short story about the number of carts {n} and what became of it.")
        begun = time.process_time()
        assert not passages.in_words(words)
        return time.process_time() - begun

    assert min(seconds(2_000) for _ in range(3)) < 10 * min(seconds(20) for _ in range(3))
