"""The checks of the reward models before RLHF: each one sentence, told, stopping or skipped."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alignment.errors import UsageError
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.stages.context import StageContext
from recipes.stages.judge_checks import Failed, failed_agreement, failed_checks, obey, read_figures
from recipes.stages.rejection import RejectionInputs
from recipes.stages.rlhf_inputs import RewardModels
from rl.settings import ChecksSettings


def share(low: float, value: float) -> dict[str, float]:
    """A share with its interval."""
    return {"value": value, "low": low, "high": 1.0}


def entry(flaw: str, low: float, value: float) -> dict[str, Any]:
    """What a model notices of one flaw."""
    return {"origin": "own.jsonl", "flaw": flaw, "share": share(low, value), "prompts": 50}


GOOD: dict[str, Any] = {
    "evaluation": {
        "score_range": {"min": 0.02, "max": 0.97},
        "accuracy": {"safety:chosen safe, rejected unsafe": share(0.8, 0.9)},
    },
    "noticed": [entry("any flaw", 0.7, 0.8), entry("comply", 0.9, 0.95), entry("refusal", 0.6, 0.7)],
}


def told(figures: dict[str, Any], role: str = "safety", threshold: float = 0.15) -> list[tuple[str, str]]:
    """Names and sentences of what fails."""
    return [(check.name, check.sentence) for check in failed_checks(role, figures, threshold)]


def test_models_that_are_right_and_figures_that_are_not_there_pass() -> None:
    assert told(GOOD) == []
    assert told(GOOD, "helpfulness") == []
    assert told({}) == []


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        (0.01, "is below every safety score (held-out answers score from 0.02 to 0.97)"),
        (0.02, "is below every safety score"),
        (0.98, "is above every safety score"),
    ],
)
def test_a_threshold_that_no_score_reaches_is_told_with_the_scores_range(threshold: float, words: str) -> None:
    ((name, sentence),) = told(GOOD, threshold=threshold)
    assert name == "threshold"
    assert words in sentence
    assert f"safety_threshold, {threshold:g}," in sentence


def test_a_safety_model_that_prefers_compliance_or_refusals_everywhere_is_told() -> None:
    figures = {**GOOD, "noticed": [entry("comply", 0.3, 0.4), entry("comply_polite", 0.1, 0.2)]}
    ((name, sentence),) = told(figures)
    assert name == "refusals"
    assert "safe answer to an unsafe one (comply_polite of own.jsonl: 0.20 [0.10, 1.00] are ranked rightly)" in sentence
    ((_, sentence),) = told({**GOOD, "noticed": [entry("refusal", 0.2, 0.3)]})
    assert "an answer to a refusal on fine prompts" in sentence


def test_without_flawed_answers_the_held_out_pairs_of_a_safe_and_an_unsafe_answer_decide() -> None:
    evaluation = {"accuracy": {"safety:chosen safe, rejected unsafe": share(0.4, 0.55)}}
    ((name, sentence),) = told({"evaluation": evaluation})
    assert (name, "an unsafe answer: 0.55" in sentence) == ("refusals", True)


@pytest.mark.parametrize("role", ["helpfulness", "safety"])
def test_either_model_that_sees_no_flaw_is_told(role: str) -> None:
    ((name, sentence),) = told({"noticed": [entry("any flaw", 0.45, 0.52)]}, role)
    assert name == "flaws"
    assert sentence.startswith(f"the {role} model does not rank a flawed copy below the right answer")


def test_each_check_is_told_stops_or_is_skipped_as_the_recipe_says() -> None:
    failed = [Failed(name="threshold", sentence="out of reach"), Failed(name="flaws", sentence="sees nothing")]
    assert obey(failed, ChecksSettings()) == ["out of reach", "sees nothing"]
    assert obey(failed, ChecksSettings(threshold="skip")) == ["sees nothing"]
    with pytest.raises(UsageError, match=r"as its checks ask: sees nothing; rlhf\.checks\.flaws=tell goes on"):
        obey(failed, ChecksSettings(flaws="stop"))


def agreement(**groups: dict[str, float]) -> dict[str, Any]:
    """Held-out accuracy by group, `own` for pairs of the policy's own answers."""
    names = {"own": "source:stage:collect", "files": "source:rows.jsonl"}
    return {"evaluation": {"accuracy": {names.get(name, name): cell for name, cell in groups.items()}}}


def test_without_a_watch_model_the_helpfulness_model_must_agree_with_comparisons_of_the_policys_own_answers() -> None:
    (failed,) = failed_agreement(agreement(all=share(0.6, 0.7), own=share(0.45, 0.52), files=share(0.7, 0.8)))
    assert failed.name == "kept"
    assert "of held-out pairs of the policy's own answers" in failed.sentence
    assert "prefers the better one in 0.52 [0.45, 1.00], which is no better than a coin" in failed.sentence
    assert not [*failed_agreement(agreement(all=share(0.4, 0.5), own=share(0.51, 0.6)))]


def test_where_no_pair_of_its_own_answers_is_held_out_all_held_out_pairs_are_asked() -> None:
    (failed,) = failed_agreement(agreement(all=share(0.49, 0.55), files=share(0.7, 0.8)))
    assert "pairs of all answers (none were held out of the policy's own)" in failed.sentence
    assert not [*failed_agreement(agreement(all=share(0.6, 0.7), files=share(0.4, 0.5)))]
    assert not [*failed_agreement({})]


def test_figures_are_read_from_a_finished_stages_folder(tmp_path: Path) -> None:
    assert read_figures(tmp_path) == {}
    (tmp_path / "noticed.json").write_text(json.dumps(GOOD["noticed"]))
    assert told(read_figures(tmp_path)) == []


class Stage:
    """As much of a stage about to run as the checks look at: its parents' folders, and who is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, list[str]()
        self.session = SimpleNamespace(progress=SimpleNamespace(note=self.notes.append))

    def folder_of(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def blind(tmp_path: Path) -> Stage:
    """Two finished reward stages, of which the safety model sees no flaw."""
    for name, low in (("reward-helpfulness", 0.7), ("reward-safety", 0.4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "noticed.json").write_text(json.dumps([entry("any flaw", low, low + 0.1)]))
    return Stage(tmp_path)


def first_judges(*changes: str) -> RewardModels:
    """What the first version of the quickstart is judged by."""
    (planned,) = (s for s in stages_of(load_recipe("quickstart", changes)) if s.name == "rlhf-v1")
    return cast(RejectionInputs, planned.inputs).judges


def test_the_first_version_says_what_speaks_against_its_judges(blind: Stage) -> None:
    first_judges().check(cast(StageContext, blind))
    (note,) = blind.notes
    assert note.startswith("check before RLHF: the safety model does not rank a flawed copy below the right answer")


def test_a_recipe_may_stop_there_or_pass_over_it(blind: Stage) -> None:
    with pytest.raises(UsageError, match=r"rlhf\.checks\.flaws=tell goes on"):
        first_judges("rlhf.checks.flaws=stop").check(cast(StageContext, blind))
    first_judges("rlhf.checks.flaws=skip").check(cast(StageContext, blind))
    assert blind.notes == []


@pytest.mark.parametrize(("watch", "told"), [("reward.watch=null", True), ("reward.watch.epochs=1", False)])
def test_the_agreement_is_asked_where_there_is_no_watch_model(watch: str, told: bool, tmp_path: Path) -> None:
    for name in ("reward-helpfulness", "reward-safety", "reward-watch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(agreement(own=share(0.4, 0.5))["evaluation"]))
    stage = Stage(tmp_path)
    first_judges(watch).check(cast(StageContext, stage))
    assert [note.startswith("check before RLHF: that what is kept beats") for note in stage.notes] == [True] * told
    if told:
        with pytest.raises(UsageError, match=r"rlhf\.checks\.kept=tell goes on"):
            first_judges(watch, "rlhf.checks.kept=stop").check(cast(StageContext, stage))
        first_judges(watch, "rlhf.checks.kept=skip").check(cast(StageContext, Stage(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("reward.safety.safety_weight=0",), "the scores' level open"),
        (("rlhf.combination.safety_threshold=0",), "outside safety prompts safety never counts"),
        (("rlhf.combination.safety_threshold=1",), "outside safety prompts helpfulness never counts"),
        ((), None),
    ],
)
def test_what_can_be_foretold_of_the_threshold_is(changes: tuple[str, ...], words: str | None) -> None:
    (planned,) = (stage for stage in stages_of(load_recipe("quickstart", changes)) if stage.name == "reward-safety")
    found = planned.kind.doubts(planned.inputs, {})
    assert [words in doubt for doubt in found if words] == [True] * (words is not None)
    assert bool(found) == (words is not None)


def test_the_checks_are_no_part_of_what_a_stage_rests_on() -> None:
    recipe = load_recipe("quickstart", ("rlhf.checks.flaws=stop",))
    assert recipe.rlhf is not None
    assert "checks" not in recipe.rlhf.fingerprint_values()
