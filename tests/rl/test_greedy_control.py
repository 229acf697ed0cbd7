"""The greedy control: as many rounds as versions, on the model's own greedy answers, and no reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

import rl.greedy_control
from alignment.batch.tree import Tree
from alignment.errors import DataError
from alignment.policy.adapter import base_named_by
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.policy.settings import AdapterSettings
from alignment.records import Dialogue, Document, Source
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from alignment.train.settings import ReplaySettings
from rl.greedy_control import train_greedy_control
from rl.settings import CandidateSettings, RejectionSettings

SETTINGS = RejectionSettings(
    context_length=64,
    pack_length=128,
    batch_size=2,
    prompts_per_version=3,
    sampling=CandidateSettings(max_new_tokens=24),
    replay=ReplaySettings(share=1.0),
)
DOCUMENTS = [Document(text=f"in {1900 + i} the mill", source=Source(file="town", line=i + 1)) for i in range(30)]


@pytest.fixture
def prompts(dialogues: list[Dialogue]) -> list[Dialogue]:
    return [dialogue.prompt() for dialogue in dialogues]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer ends: what an untrained model says seldom does."""
    from dataclasses import replace

    draw = rl.greedy_control.draw_samples

    def all_end(*given: Any, **more: Any) -> Any:
        assert more["sampling"].temperature == 0.0
        return [tuple(replace(s, finish_reason="stop") for s in options) for options in draw(*given, **more)]

    monkeypatch.setattr(rl.greedy_control, "draw_samples", all_end)


@pytest.mark.usefixtures("ended")
def test_every_version_has_its_round_of_the_same_size(
    policy: Policy, prompts: list[Dialogue], session: Session
) -> None:
    result = train_greedy_control(policy, prompts, [1, 2], SETTINGS, session, DOCUMENTS)
    assert result.counts["dialogues"] == 6
    assert result.counts["replayed_documents"] == 6
    assert all((session.folder / f"round-{n}" / "checkpoint" / "model.safetensors").exists() for n in (1, 2))
    assert load_policy(session.folder / "checkpoint").tokenizer.sha256 == policy.tokenizer.sha256


@pytest.mark.usefixtures("ended")
def test_a_finished_round_is_not_run_again(
    policy: Policy, prompts: list[Dialogue], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_greedy_control(policy, prompts, [1], SETTINGS, session, DOCUMENTS)
    trained: list[str] = []
    train = rl.greedy_control.train_language_model

    def watch(policy: Policy, trees: Sequence[Tree], held_out: Any, settings: Any, session: Session, name: str) -> Any:
        trained.append(name)
        return train(policy, trees, held_out, settings, session, name)

    monkeypatch.setattr(rl.greedy_control, "train_language_model", watch)
    again: TrainingResult = train_greedy_control(policy, prompts, [1, 2], SETTINGS, session, DOCUMENTS)
    assert trained == ["control-greedy-v2"]
    assert again.steps > whole.steps


@pytest.mark.usefixtures("ended")
def test_rounds_with_an_adapter_stand_on_each_other_and_leave_a_whole_model(
    policy: Policy, prompts: list[Dialogue], session: Session
) -> None:
    pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    save_policy(policy, session.folder.parent / "chat" / "checkpoint")
    start = load_policy(session.folder.parent / "chat" / "checkpoint")
    settings = SETTINGS.model_copy(update={"adapter": AdapterSettings()})
    train_greedy_control(start, prompts, [1, 2], settings, session, DOCUMENTS)
    bases = [base_named_by(session.folder / f"round-{n}" / "checkpoint")[0] for n in (1, 2)]
    assert bases == ["../../../chat/checkpoint", "../../round-1/checkpoint"]
    whole, last = (load_policy(session.folder / name).model for name in ("checkpoint", "round-2/checkpoint"))
    assert (session.folder / "checkpoint" / "model.safetensors").exists()
    assert all(torch.equal(value, last.state_dict()[name]) for name, value in whole.state_dict().items())


def test_without_versions_there_is_no_control(policy: Policy, prompts: list[Dialogue], session: Session) -> None:
    with pytest.raises(DataError, match="the versions that it is held against"):
        train_greedy_control(policy, prompts, [], SETTINGS, session, DOCUMENTS)
