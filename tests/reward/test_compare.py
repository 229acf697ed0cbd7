"""Reward models side by side: each on the pairs of all, and how far they agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alignment.errors import DataError
from alignment.policy.policy import Policy
from alignment.records import Dialogue, LabelledAnswer, Preference, Source, Turn
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from reward.compare import compare_models
from reward.function import FunctionReward
from reward.model import RewardModel
from reward.report import compared_models
from reward.result import ModelComparison

COMPUTE = resolve_compute(ComputeSettings(precision="fp32", threads=1))


class ByLength(RewardModel):
    """Scores an answer by its length, or the other way round."""

    def score_ids(self, prompts, answers, compute, *, pack_length=4096):  # type: ignore[no-untyped-def]
        return [[self.sign * len(answer) for answer in options] for options in answers]

    sign = 1.0


class ByShortness(ByLength):
    sign = -1.0


def pair(number: int, chosen: str, rejected: str, file: str = "a.jsonl") -> Preference:
    """A pair of a prompt of its own."""
    source = Source(file=f"data/{file}", line=number)
    prompt = Dialogue(turns=(Turn(role="user", content=f"question {number}"),), source=source, id=str(number))
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, source=source)


LONG, SHORT = "the baker sells the bread to the miller", "no"
Models = dict[str, RewardModel]


@pytest.fixture
def models(policy: Policy) -> Models:
    """One that likes length, and one that does not."""
    plain = RewardModel.from_policy(policy, seed=0, name="helpfulness")
    kinds: dict[str, Callable[..., RewardModel]] = {"helpfulness": ByLength, "safety": ByShortness}
    return {name: kind(model=plain.model, tokenizer=plain.tokenizer) for name, kind in kinds.items()}


def _tokenizer(models: Models) -> Tokenizer:
    return models["helpfulness"].tokenizer


@pytest.fixture
def found(models: Models) -> ModelComparison:
    """Helpfulness pairs prefer the long answer twice of three times, the safety pair the short one."""
    first = pair(9, SHORT, LONG, "s.jsonl")
    single = LabelledAnswer(prompt=first.prompt, answer="no", safe=True, source=first.source)
    held_out = {
        "helpfulness": [pair(1, LONG, SHORT), pair(2, LONG, SHORT, "b.jsonl"), pair(3, SHORT, LONG)],
        "safety": [first, single],
    }
    return compare_models(models, held_out, _tokenizer(models), COMPUTE, context_length=256)


def test_every_model_is_measured_on_every_set_and_on_each_of_its_sources(found: ModelComparison) -> None:
    shares = {pairs: {name: share.value for name, share in row.items()} for pairs, row in found.accuracy.items()}
    assert shares == {
        "helpfulness": {"helpfulness": pytest.approx(2 / 3), "safety": pytest.approx(1 / 3)},
        "helpfulness: a.jsonl": {"helpfulness": 0.5, "safety": 0.5},
        "helpfulness: b.jsonl": {"helpfulness": 1.0, "safety": 0.0},
        "safety": {"helpfulness": 0.0, "safety": 1.0},
    }
    assert found.accuracy["helpfulness"]["safety"].pairs == 3


def test_models_that_always_differ_agree_on_nothing(found: ModelComparison) -> None:
    agreed = found.agreement["helpfulness"]
    assert (agreed.same.value, agreed.same.pairs) == (0.0, 3)
    assert agreed.gaps is not None
    assert agreed.gaps.value == pytest.approx(-1.0)


def test_a_model_agrees_with_itself(models: Models) -> None:
    twice = {"helpfulness": models["helpfulness"], "safety": models["helpfulness"]}
    held_out = {"helpfulness": [pair(1, LONG, SHORT), pair(2, SHORT, LONG)]}
    agreed = compare_models(twice, held_out, _tokenizer(models), COMPUTE, context_length=256).agreement["helpfulness"]
    assert (agreed.same.value, agreed.same.high) == (1.0, 1.0)


def test_a_function_that_somebody_brings_is_measured_beside_a_model(models: Models) -> None:
    brought = FunctionReward(name="own:score", function=lambda dialogues: [len(d.turns[-1].content) for d in dialogues])
    both = {"helpfulness": models["safety"], "safety": brought}
    shares = compare_models(
        both, {"helpfulness": [pair(1, LONG, SHORT)]}, _tokenizer(models), COMPUTE, context_length=256
    ).accuracy["helpfulness"]
    assert {name: share.value for name, share in shares.items()} == {"helpfulness": 0.0, "safety": 1.0}


def test_a_score_that_is_no_number_is_told_with_its_row(models: Models) -> None:
    broken = FunctionReward(name="own:score", function=lambda dialogues: [float("nan")] * len(dialogues))
    with pytest.raises(DataError, match=r"data/a\.jsonl:1: the safety model scores an answer nan"):
        compare_models(
            {**models, "safety": broken},
            {"helpfulness": [pair(1, LONG, SHORT)]},
            _tokenizer(models),
            COMPUTE,
            context_length=256,
        )


def test_sets_without_pairs_that_fit_are_left_out(models: Models) -> None:
    held_out = {"helpfulness": [pair(1, LONG, SHORT)], "safety": []}
    assert compare_models(models, held_out, _tokenizer(models), COMPUTE, context_length=8) == ModelComparison()


def test_the_page_has_a_column_for_each_model_and_one_for_their_agreement(
    found: ModelComparison, tmp_path: Path
) -> None:
    assert compared_models(tmp_path / "reward_models.json") == []
    (tmp_path / "reward_models.json").write_text(json.dumps(found.as_json()))
    (table,) = compared_models(tmp_path / "reward_models.json")
    assert table.type == "table"
    assert table.columns == ("pairs of", "helpfulness model", "safety model", "both agree", "number")
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("helpfulness", 3),
        ("helpfulness: a.jsonl", 2),
        ("helpfulness: b.jsonl", 1),
        ("safety", 1),
    ]
    assert table.rows[1][3] is None
