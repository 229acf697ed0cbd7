"""Which of the earlier versions' answers are candidates, and by whose scores they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignment.errors import CheckpointError, DataError, NonFiniteError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Turn
from alignment.text.chat import answer_ids
from alignment.train.session import Session
from reward.function import FunctionReward
from reward.model import RewardModel
from rl.judges import RewardJudges
from rl.kept import KEPT_FILE, Kept, read_kept, write_kept
from rl.pool import kept_earlier
from rl.rejection import rejection_sample
from rl.scored_by import judge_digests, write_scored_by
from rl.settings import RejectionSettings
from tests.rl.test_rejection import SAMPLING, CannedSamples

OLD = 9.0  # a score that no untrained model gives
SETTINGS = RejectionSettings(samples_per_prompt=2, sampling=SAMPLING, context_length=128, batch_size=4, max_steps=1)


@pytest.fixture
def earlier(tmp_path: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges) -> Path:
    """A version's folder: an answer to each prompt, scored by `judges` as its files say."""
    folder = tmp_path / "v1"
    folder.mkdir()
    ids = tuple(answer_ids("bread", policy.tokenizer))
    rows = [
        Kept(prompt_id=each.id, answer="bread", version=1, helpfulness=OLD, safety=OLD, combined=OLD, token_ids=ids)
        for each in prompts
    ]
    write_kept(folder / KEPT_FILE, rows)
    write_scored_by(folder, judges, prompts)
    return folder


def by_id(prompts: Sequence[Dialogue]) -> dict[str, Dialogue]:
    return {prompt.id: prompt for prompt in prompts}


def scores(found: Sequence[Sequence[Kept]]) -> set[bool]:
    """Whether the scores are the old ones."""
    return {one.combined == OLD for version in found for one in version}


def loaded(judges: RewardJudges, folder: Path) -> RewardJudges:
    """The same models, written and read again."""
    for role in ("helpfulness", "safety"):
        model = getattr(judges, role)
        assert isinstance(model, RewardModel)
        model.save(folder / role)
    again = RewardJudges.load(folder / "helpfulness", folder / "safety")
    return replace(again, compute=judges.compute)


def test_scores_of_the_same_models_stand(
    earlier: Path, tmp_path: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    found = kept_earlier([earlier], by_id(prompts), loaded(judges, tmp_path), policy)
    assert (scores(found.kept), found.rescored) == ({True}, 0)


@pytest.mark.parametrize("role", ["helpfulness", "safety"])
def test_one_other_weight_of_one_model_and_the_pool_is_scored_again(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges, role: str
) -> None:
    model = getattr(judges, role)
    with torch.no_grad():
        model.model.score.weight[0, 0] += 1.0
    found = kept_earlier([earlier], by_id(prompts), judges, policy)
    assert (scores(found.kept), found.rescored) == ({False}, len(prompts))


def test_another_threshold_combines_otherwise_and_the_pool_is_scored_again(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    found = kept_earlier([earlier], by_id(prompts), replace(judges, safety_threshold=0.5), policy)
    assert scores(found.kept) == {False}
    alone = replace(judges, safety=None)
    assert judge_digests(alone) == judge_digests(replace(alone, safety_threshold=0.5))  # nothing to combine


def test_where_it_is_not_known_who_scored_the_pool_is_scored_again_unless_told(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    (earlier / "samples" / "scored.json").unlink()
    assert scores(kept_earlier([earlier], by_id(prompts), judges, policy).kept) == {False}
    assert scores(kept_earlier([earlier], by_id(prompts), judges, policy, rescore=False).kept) == {True}


def test_of_a_function_it_cannot_be_told_whether_it_is_the_same(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    flat = replace(judges, helpfulness=FunctionReward(lambda dialogues: [1.0] * len(dialogues)), safety=None)
    write_scored_by(earlier, flat, prompts)
    found = kept_earlier([earlier], by_id(prompts), flat, policy)
    assert {one.combined for one in found.kept[0]} == {1.0}


def test_a_damaged_word_on_who_scored_is_refused_by_name(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    (earlier / "samples" / "scored.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"scored\.json does not say which reward models"):
        kept_earlier([earlier], by_id(prompts), judges, policy)


def test_answers_to_prompts_that_are_gone_held_out_or_changed_are_set_aside_and_counted(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    changed = replace(prompts[0], turns=(Turn(role="user", content="who sells the flour?"),))
    found = kept_earlier([earlier], by_id([changed, *prompts[1:6]]), judges, policy)
    assert [one.prompt_id for one in found.kept[0]] == [prompt.id for prompt in prompts[1:6]]
    assert (found.gone, found.changed) == (2, 1)
    assert "of 8 answers that earlier versions kept, 3 are set aside" in str(found)


def test_a_folder_of_wholly_other_prompts_is_refused(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    others = {f"other-{name}": prompt for name, prompt in by_id(prompts).items()}
    with pytest.raises(DataError, match=r"v1: not one of the 8 prompts whose answers it keeps is a training prompt"):
        kept_earlier([earlier], others, judges, policy)


def test_a_folder_without_kept_answers_is_refused(
    tmp_path: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges
) -> None:
    with pytest.raises(DataError, match=r"holds no kept\.jsonl; the folder of a finished rejection sampling"):
        kept_earlier([tmp_path / "v9"], by_id(prompts), judges, policy)


@pytest.fixture
def _canned(monkeypatch: pytest.MonkeyPatch) -> None:
    import rl.rejection

    monkeypatch.setattr(
        rl.rejection, "draw_samples", lambda policy, fitting, **_: [CannedSamples.of(policy) for _ in fitting]
    )


@pytest.mark.usefixtures("_canned")
def test_a_version_leaves_word_of_its_judges_for_the_next(
    tmp_path: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session
) -> None:
    rejection_sample(policy, prompts, judges, SETTINGS, session)
    first = read_kept(session.folder / KEPT_FILE)
    found = kept_earlier([session.folder], by_id(prompts), judges, policy)
    assert (list(found.kept[0]), found.rescored) == (first, 0)


@pytest.mark.usefixtures("_canned")
def test_a_version_counts_what_it_sets_aside_and_takes_the_rest(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session
) -> None:
    figures = rejection_sample(policy, prompts[2:], judges, SETTINGS, session, version=2, earlier=[earlier]).sampling
    assert (figures.pool_set_aside, figures.pool_origins) == (2, {"v1": 6})  # the old scores are higher
    assert figures.as_json()["pool_set_aside"] == 2
    alone = SETTINGS.model_copy(update={"pool": "previous"})
    second = rejection_sample(policy, prompts[2:], judges, alone, session, version=2, earlier=[earlier]).sampling
    assert (second.pool_origins, "pool_set_aside" in second.as_json()) == ({"v2": 6}, False)


@pytest.mark.usefixtures("_canned")
def test_a_score_of_the_pool_that_is_no_number_stops_with_its_row(
    earlier: Path, policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session
) -> None:
    bread = FunctionReward(lambda rows: [float("nan" if d.turns[-1].content == "bread" else 1) for d in rows])
    bad = replace(judges, helpfulness=bread)
    with pytest.raises(NonFiniteError):
        rejection_sample(policy, prompts, bad, SETTINGS, session, version=2, earlier=[earlier])
    assert "made:1" in (session.folder / "nonfinite.json").read_text()
