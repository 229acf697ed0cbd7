"""The guard: a candidate that is hardly better than the model's own greedy answer is not kept."""

from __future__ import annotations

import dataclasses
import json

import pytest

from alignment.errors import UsageError
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.train.session import Session
from recipes.stages.judge_checks import failed_kept, obey
from reward.function import FunctionReward
from rl.judges import RewardJudges
from rl.kept import guarded, read_kept
from rl.outside_watch import EndpointWatch
from rl.rejection import rejection_sample
from rl.report import rejection_section
from rl.settings import ChecksSettings, RejectionSettings
from tests.alignment.evaluate.conftest import Endpoint
from tests.alignment.evaluate.conftest import endpoint as endpoint
from tests.rl.test_rejection import SAMPLING, CannedSamples, kept

SETTINGS = RejectionSettings(samples_per_prompt=2, sampling=SAMPLING, context_length=128, batch_size=4, max_steps=1)


@pytest.fixture(autouse=True)
def _canned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two finished answers to every prompt; the greedy one is the second."""
    import rl.guard
    import rl.rejection

    monkeypatch.setattr(
        rl.rejection, "draw_samples", lambda policy, fitting, **_: [CannedSamples.of(policy) for _ in fitting]
    )
    monkeypatch.setattr(
        rl.guard, "draw_samples", lambda policy, fitting, **_: [CannedSamples.of(policy)[1:] for _ in fitting]
    )


@pytest.fixture
def watched(judges: RewardJudges) -> RewardJudges:
    """Judges with a watch model that likes long answers."""
    lengths = FunctionReward(lambda dialogues: [float(len(dialogue.turns[-1].content)) for dialogue in dialogues])
    return dataclasses.replace(judges, watch=lengths)


@pytest.mark.parametrize(("candidate", "expected"), [(1.4, 1.0), (1.6, 1.6), (0.2, 1.0)])
def test_a_candidate_is_kept_if_it_beats_the_greedy_answer_by_the_guard(candidate: float, expected: float) -> None:
    assert guarded(kept("p", 1, candidate), kept("p", 1, 1.0), 0.5).combined == expected
    assert guarded(kept("p", 1, candidate), None, 0.5).combined == candidate


def test_with_a_guard_that_nothing_passes_the_greedy_answers_are_what_is_learnt(
    policy: Policy, watched: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    settings = SETTINGS.model_copy(update={"guard": 1e6})
    figures = rejection_sample(policy, prompts, watched, settings, session).sampling.guard
    assert figures is not None
    assert figures.greedy_kept == figures.prompts > 0
    assert {name: cell["value"] for name, cell in figures.over_greedy.items()} == {"reward": 0.0, "watch": 0.0}
    assert {answer.answer for answer in read_kept(session.folder / "kept.jsonl")} == {"the miller"}


def test_without_a_guard_no_greedy_answer_is_drawn(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue], monkeypatch: pytest.MonkeyPatch
) -> None:
    import rl.guard

    monkeypatch.delattr(rl.guard, "draw_samples")
    rejection_sample(policy, prompts, judges, SETTINGS, session)
    assert "guard" not in json.loads((session.folder / "rejection.json").read_text())


def test_with_no_margin_what_is_kept_is_never_worse_than_greedy_by_the_reward(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    figures = rejection_sample(policy, prompts, judges, SETTINGS.model_copy(update={"guard": 0.0}), session).sampling
    assert figures.guard is not None
    assert figures.guard.over_greedy["reward"]["low"] >= 0
    rewards = [answer.combined for answer in read_kept(session.folder / "kept.jsonl")]
    assert figures.kept_reward == pytest.approx(sum(rewards) / len(rewards))
    page = rejection_section(session.folder, stage="rlhf-v1", result={})
    assert "What is kept, less the greedy answer" in [getattr(block, "title", "") for block in page.details]


def test_the_fine_tuning_can_be_refused_by_what_was_kept(
    policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    def refuse(figures: object) -> None:
        raise UsageError("not this")

    with pytest.raises(UsageError, match="not this"):
        rejection_sample(policy, prompts, judges, SETTINGS, session, before_tuning=refuse)
    assert not (session.folder / "checkpoint").exists()


def test_what_the_watch_model_does_not_like_better_is_told_or_stops() -> None:
    unsure = {"watch": {"value": 0.1, "low": -0.2, "high": 0.4}}
    (failed,) = failed_kept(unsure, 2)
    assert "what RLHF-V2 keeps is not better than its greedy answers by the watch model (+0.10" in failed.sentence
    assert obey([failed], ChecksSettings()) == [failed.sentence]
    with pytest.raises(UsageError, match=r"rlhf\.checks\.kept=tell"):
        obey([failed], ChecksSettings(kept="stop"))
    assert not [*failed_kept({"watch": {"value": 0.3, "low": 0.1, "high": 0.5}}, 2)]
    assert not [*failed_kept({}, 2)]


def test_an_outside_watch_model_compares_what_is_kept_with_the_greedy_answers(
    endpoint: Endpoint, policy: Policy, judges: RewardJudges, session: Session, prompts: list[Dialogue]
) -> None:
    watched = dataclasses.replace(judges, watch=EndpointWatch(endpoint.settings(), session))
    endpoint.replies = [404, *["[[B]]", "[[A]]"] * 100]  # the kept one loses, in both orders
    figures = rejection_sample(
        policy, prompts, watched, SETTINGS.model_copy(update={"guard": 0.0}), session
    ).sampling.guard
    assert figures is not None
    other = sum(answer.answer != "the miller" for answer in read_kept(session.folder / "kept.jsonl"))
    assert other > 1
    assert figures.without_verdict == 1
    assert figures.over_greedy["wins"]["value"] == pytest.approx(-0.5 * (other - 1) / (figures.prompts - 1))
    (failed,) = failed_kept(figures.over_greedy, 1)
    assert failed.sentence.endswith("of comparisons won over one half, ties half)")
    (table,) = [
        b for b in rejection_section(session.folder, stage="rlhf-v1", result={}).details if "less the" in b.title
    ]  # type: ignore[union-attr]
    assert "gave no verdict on 1, which are left out" in table.note  # type: ignore[union-attr]
