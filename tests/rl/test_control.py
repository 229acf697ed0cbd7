"""A control: as many steps as the versions, the documents that they replayed, and no answer of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import rl.control
from alignment.batch.tree import Tree
from alignment.data.mixing import draw
from alignment.errors import DataError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document, Source
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import ReplaySettings
from rl.control import Round, train_control
from rl.rejection import replay_names
from rl.settings import RejectionSettings

SETTINGS = RejectionSettings(context_length=64, pack_length=128, batch_size=2, replay=ReplaySettings(share=1.0))
ROUNDS = (Round(version=1, steps=3, dialogues=4, documents=5), Round(version=2, steps=2, dialogues=12, documents=2))
DOCUMENTS = [Document(text=f"in {1900 + i} the mill", source=Source(file="town", line=i + 1)) for i in range(30)]


def test_it_takes_the_steps_of_all_versions_together(
    policy: Policy, dialogues: list[Dialogue], session: Session
) -> None:
    result = train_control(policy, dialogues, ROUNDS, SETTINGS, session, DOCUMENTS)
    assert result.steps == 5
    assert (result.counts["dialogues"], result.counts["replayed_documents"]) == (16, 7)
    assert (session.folder / "checkpoint" / "model.safetensors").exists()


def test_its_documents_are_the_versions_own_draws(
    policy: Policy, dialogues: list[Dialogue], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Tree] = []

    def watch(policy: Policy, trees: Sequence[Tree], *rest: Any) -> TrainingResult:
        trained.extend(trees)
        return TrainingResult(steps=5, tokens=1, seconds=0.0)

    monkeypatch.setattr(rl.control, "train_language_model", watch)
    train_control(policy, dialogues, ROUNDS, SETTINGS, session, DOCUMENTS)
    versions = [draw(DOCUMENTS, each.documents, seed=0, names=replay_names(each.version)) for each in ROUNDS]
    from_town = [tree.rows[0] for tree in trained if tree.rows[0].startswith("town")]
    assert from_town == [str(document.source) for drawn in versions for document in drawn]


@pytest.mark.parametrize(("given", "rounds"), [([], ROUNDS), (None, ())])
def test_without_demonstrations_or_versions_there_is_no_control(
    given: list[Dialogue] | None,
    rounds: Sequence[Round],
    policy: Policy,
    dialogues: list[Dialogue],
    session: Session,
) -> None:
    with pytest.raises(DataError, match="a control needs demonstrations and a version"):
        train_control(policy, dialogues if given is None else given, rounds, SETTINGS, session, DOCUMENTS)
