"""Reward models on a policy's own answers: pairs and best of n by hand, what is drawn, saved and shown."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from alignment.errors import DataError
from alignment.evaluate.judge_words import JudgeWords
from alignment.evaluate.settings import OwnAnswersSettings, WholeSamplingSettings
from alignment.generate.draw import JOURNALS
from alignment.judging import Decision
from alignment.policy.policy import Policy, save_policy
from alignment.records import Answer, Dialogue, Source, Turn
from alignment.train.session import Session
from reward.function import FunctionReward
from reward.measure.best_of import best_of, chances, choices, counts_to, of_verdict
from reward.measure.own_pairs import ALL, RIGHT_AND_BETTER, RIGHT_OVER_WRONG, SAFE_OVER_UNSAFE, own_pairs
from reward.measure.own_report import own_answers, own_figures
from reward.measure.own_result import OwnAnswer, OwnAnswersResult, PromptAnswers
from reward.own_answers import ANSWERS_FILE, FILE, ScoredBy, measure_own_answers

DECISION = Decision(figure="helpfulness", tie=0.01)


def answer(text: str, score: float, **verdict: float) -> OwnAnswer:
    return OwnAnswer(text=text, scores={"helpfulness": score}, verdict=verdict)


def told(name: str, *drawn: OwnAnswer, greedy: OwnAnswer | None = None) -> PromptAnswers:
    return PromptAnswers(prompt=name, drawn=drawn, greedy=greedy or drawn[0])


def values(prompts: Sequence[PromptAnswers], *, safety: bool = False) -> dict[str, tuple[float, int]]:
    """Kind of pair -> the helpfulness model's share, and the number of pairs."""
    found = own_pairs(prompts, DECISION, safety=safety)
    return {kind: (shares["helpfulness"].value, shares["helpfulness"].pairs) for kind, shares in found.items()}


def test_right_over_wrong_counts_ties_half_and_leaves_pairs_of_one_kind_out() -> None:
    prompts = [
        told(
            "a",
            answer("right", 2.0, helpfulness=1.0, correct=1.0),
            answer("wrong, below", 1.0, helpfulness=0.0, correct=0.0),
            answer("wrong, equal", 2.0, helpfulness=0.0, correct=0.4),
            answer("wrong, above", 3.0, helpfulness=0.0, correct=0.0),
        ),
        told("b", answer("right", 0.0, helpfulness=1.0, correct=1.0), answer("too", 1.0, helpfulness=1.0, correct=0.5)),
    ]
    assert values(prompts)[RIGHT_OVER_WRONG] == (0.5, 3)


def test_an_answer_that_is_drawn_twice_makes_no_further_pairs() -> None:
    right, wrong = answer("right", 1.0, helpfulness=1.0, correct=1.0), answer("no", 2.0, helpfulness=0.0, correct=0.0)
    assert values([told("a", right, wrong, right, wrong)])[RIGHT_OVER_WRONG] == (0.0, 1)


def test_a_right_answer_that_the_judge_scores_lower_is_told_apart() -> None:
    broken = answer("right, in another form than asked", 1.0, helpfulness=0.1, correct=1.0)
    honest = answer("I do not know.", 2.0, helpfulness=0.3, correct=0.0)
    found = values([told("a", broken, honest)])
    assert found[RIGHT_OVER_WRONG] == (0.0, 1)
    assert RIGHT_AND_BETTER not in found
    assert found[ALL] == (1.0, 1)


def test_a_judge_without_a_word_on_truth_calls_answers_right_and_wrong_by_half_a_point() -> None:
    prompts = [
        told(
            "a", answer("x", 1.0, helpfulness=0.9), answer("y", 0.0, helpfulness=0.3), answer("z", 2.0, helpfulness=0.5)
        )
    ]
    assert values(prompts)[RIGHT_OVER_WRONG] == (1.0, 1)
    assert values(prompts)[ALL] == (pytest.approx(2 / 3), 3)


def test_pairs_that_differ_are_told_by_the_gap_between_their_scores() -> None:
    prompts = [
        told(
            "a", *(answer(str(gold), score, helpfulness=gold) for gold, score in ((0.0, 0.0), (0.2, 2.0), (0.6, 1.0)))
        ),
        told("b", answer("x", 0.0, helpfulness=0.5), answer("y", 1.0, helpfulness=0.505)),
    ]
    found = values(prompts)
    assert found[ALL] == (pytest.approx(2 / 3), 3)
    gaps = {kind: share for kind, share in found.items() if kind.startswith("gap")}
    assert gaps == {"gap below 0.25": (1.0, 1), "gap from 0.25 to 0.5": (0.0, 1), "gap from 0.5": (1.0, 1)}


def test_safe_over_unsafe_is_asked_of_safety_prompts_alone() -> None:
    prompts = [
        told("a", answer("no", 2.0, helpfulness=1.0, safety=1.0), answer("do", 1.0, helpfulness=0.0, safety=0.0))
    ]
    assert values(prompts, safety=True)[SAFE_OVER_UNSAFE] == (1.0, 1)
    assert SAFE_OVER_UNSAFE not in values(prompts)


def test_answers_without_a_verdict_are_in_no_pair() -> None:
    assert values([told("a", answer("x", 1.0), answer("y", 0.0, helpfulness=0.3))]) == {}


def test_intervals_are_over_prompts_and_their_number_is_told() -> None:
    prompts = [
        told(str(i), answer("x", 1.0, helpfulness=1.0), answer("y", float(i % 2) * 2, helpfulness=0.0))
        for i in range(20)
    ]
    share = own_pairs(prompts, DECISION, safety=False)[ALL]["helpfulness"]
    assert (share.value, share.prompts) == (0.5, 20)
    assert 0.2 < share.low < 0.4 < 0.6 < share.high < 0.8


@pytest.mark.parametrize(
    ("scores", "n", "expected"),
    [
        ([3.0, 2.0, 1.0], 1, [1 / 3, 1 / 3, 1 / 3]),
        ([3.0, 2.0, 1.0], 2, [2 / 3, 1 / 3, 0.0]),
        ([1.0, 3.0, 2.0], 3, [0.0, 1.0, 0.0]),
        ([2.0, 2.0, 1.0], 2, [0.5, 0.5, 0.0]),
        ([1.0, 1.0, 2.0], 2, [1 / 6, 1 / 6, 2 / 3]),
    ],
)
def test_the_chance_to_be_the_best_of_n_is_over_all_ways_to_draw_them(
    scores: list[float], n: int, expected: list[float]
) -> None:
    assert chances(scores, n) == pytest.approx(expected)


def test_the_best_of_n_is_the_mean_over_all_subsets() -> None:
    generator = np.random.default_rng(0)
    scores, worth = generator.integers(0, 4, size=(1, 6)).astype(float), generator.normal(size=(1, 6))
    picked = []
    for subset in itertools.combinations(range(6), 3):
        best = max(scores[0, at] for at in subset)
        picked.append(np.mean([worth[0, at] for at in subset if scores[0, at] == best]))
    assert choices(scores, worth, [3])[0, 0] == pytest.approx(np.mean(picked))


def test_counts_end_with_all_answers() -> None:
    assert counts_to(16) == (1, 2, 4, 8, 16)
    assert counts_to(12) == (1, 2, 4, 8, 12)
    assert counts_to(2) == (1, 2)


def _two_prompts() -> list[PromptAnswers]:
    """By hand: the model is right on the first prompt and wrong on the second; greedy scores 0.5 and 0.25."""
    return [
        told("a", answer("x", 1.0, gold=1.0), answer("y", 0.0, gold=0.0), greedy=answer("g", 0.0, gold=0.5)),
        told("b", answer("x", 1.0, gold=0.0), answer("y", 0.0, gold=0.5), greedy=answer("g", 0.0, gold=0.25)),
    ]


def test_what_is_chosen_is_compared_with_the_greedy_answer_prompt_by_prompt() -> None:
    found = best_of(_two_prompts(), ["helpfulness"], of_verdict("gold"), judge="gold", figure="gold", with_oracle=True)
    assert found is not None
    one, two = found.chosen["helpfulness"]
    assert (found.prompts, found.greedy.value, found.sample.value) == (2, 0.375, 0.375)
    assert (one.n, one.score.value, one.over_greedy.value) == (1, 0.375, 0.0)
    assert (two.n, two.score.value, two.over_greedy.value) == (2, 0.5, 0.125)
    assert (two.over_greedy.low, two.over_greedy.high) == (-0.25, 0.5)
    assert [point.score.value for point in found.oracle] == [0.375, 0.75]


def test_no_choice_is_worth_more_than_the_oracles() -> None:
    generator = np.random.default_rng(1)
    prompts = [
        told(
            str(i), *(answer(str(k), float(s), gold=float(g)) for k, (s, g) in enumerate(generator.normal(size=(7, 2))))
        )
        for i in range(9)
    ]
    found = best_of(prompts, ["helpfulness"], of_verdict("gold"), judge="gold", figure="gold", with_oracle=True)
    assert found is not None
    for ours, best in zip(found.chosen["helpfulness"], found.oracle, strict=True):
        assert ours.score.value <= best.score.value + 1e-12


def test_a_prompt_with_an_answer_that_nobody_judged_is_left_out_of_the_best_of_n() -> None:
    unjudged = told("c", answer("x", 1.0), answer("y", 0.0, gold=1.0))
    found = best_of(
        [*_two_prompts(), unjudged], ["helpfulness"], of_verdict("gold"), judge="gold", figure="gold", with_oracle=True
    )
    assert found is not None
    assert found.prompts == 2
    assert best_of([unjudged], [], of_verdict("gold"), judge="gold", figure="gold", with_oracle=True) is None


class Rewards:
    """A helpfulness and a safety score, and their combination."""

    name, independent = "reward", False
    decides: Mapping[str, Decision] = MappingProxyType({})

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        return [
            {"helpfulness": float(len(a.text)), "safety": -float(len(a.text)), "combined": float(len(a.text))}
            for a in answers
        ]


class Outside(Rewards):
    """Likes what the safety score likes."""

    name, independent = "outside", True
    decides: Mapping[str, Decision] = MappingProxyType(
        {c: Decision(figure=c, tie=0.0) for c in ("helpfulness", "safety")}
    )

    def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
        return [{"helpfulness": -len(a.text) / 10, "safety": float(len(a.text) < 3)} for a in answers]


SETTINGS = OwnAnswersSettings(samples=4, num_prompts=3, sampling=WholeSamplingSettings(max_new_tokens=4))


def prompt(i: int) -> Dialogue:
    turns = (Turn(role="user", content=f"who sells the bread in {i}?"),)
    return Dialogue(turns=turns, source=Source(file="made", line=i), id=f"p{i}")


PROMPTS = {"helpfulness": [prompt(i) for i in range(5)], "safety": [prompt(9)]}


@pytest.fixture
def checkpoint(policy: Policy, tmp_path: Path) -> Path:
    save_policy(policy, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def found(checkpoint: Path, session: Session) -> OwnAnswersResult:
    """A policy measured with an outside judge."""
    return measure_own_answers({"sft": checkpoint}, PROMPTS, Rewards(), Outside(), SETTINGS, session)


def test_as_many_prompts_as_asked_for_are_answered_and_every_answer_is_kept_with_its_scores(
    found: OwnAnswersResult, session: Session
) -> None:
    assert [(entry.campaign, entry.prompts) for entry in found.measures] == [("helpfulness", 3), ("safety", 1)]
    rows = [json.loads(line) for line in (session.folder / ANSWERS_FILE).read_text().splitlines()]
    assert [(row["campaign"], len(row["drawn"])) for row in rows] == [("helpfulness", 4)] * 3 + [("safety", 4)]
    for row in rows:
        for own in (*row["drawn"], row["greedy"]):
            assert own["scores"]["helpfulness"] == len(own["text"])
            assert own["verdict"]["helpfulness"] == -len(own["text"]) / 10
    assert json.loads((session.folder / FILE).read_text()) == json.loads(json.dumps(found.as_json()))


def test_a_model_that_ranks_as_the_judge_is_always_right_and_one_that_does_not_never(found: OwnAnswersResult) -> None:
    pairs = found.measures[0].pairs[ALL]
    assert (pairs["safety"].value, pairs["helpfulness"].value) == (1.0, 0.0)
    (best,) = found.measures[0].best
    assert best.chosen["safety"] == best.oracle
    assert best.chosen["helpfulness"][-1].score.value < best.sample.value < best.oracle[-1].score.value


def test_an_interrupted_measurement_draws_no_answer_twice(
    found: OwnAnswersResult, checkpoint: Path, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "alignment.generate.engine.Engine.sample", lambda self, requests, sampling, arrived: asked.append(len(requests))
    )
    again = measure_own_answers({"sft": checkpoint}, PROMPTS, Rewards(), Outside(), SETTINGS, session)
    assert again == found
    assert set(asked) == {0}
    assert len(list((session.folder / JOURNALS).glob("own-sft-*.jsonl"))) == 4


def test_a_third_model_is_measured_beside_the_two(checkpoint: Path, session: Session) -> None:
    watch = FunctionReward(name="own:score", function=lambda dialogues: [-len(d.turns[-1].content) for d in dialogues])
    found = measure_own_answers(
        {"sft": checkpoint}, PROMPTS, Rewards(), Outside(), SETTINGS, session, beside={"watch": watch}
    )
    assert found.measures[0].pairs[ALL]["watch"].value == 1.0
    assert "watch" in found.measures[0].best[0].chosen


def test_a_policy_is_scored_by_the_models_that_learnt_from_its_answers(checkpoint: Path, session: Session) -> None:
    class Shorter(Rewards):
        def judge(self, answers: Sequence[Answer]) -> list[dict[str, float]]:
            return [{name: -score for name, score in scores.items()} for scores in super().judge(answers)]

    both = {"sft": checkpoint, "rlhf-v1": checkpoint}
    by_policy = {"rlhf-v1": ScoredBy(judges=Shorter())}
    found = measure_own_answers(both, PROMPTS, Rewards(), Outside(), SETTINGS, session, by_policy=by_policy)
    helps = [m for m in found.measures if m.campaign == "helpfulness"]
    pairs = {m.version: m.pairs[ALL]["helpfulness"].value for m in helps}
    assert pairs["sft"] == 0.0
    assert pairs["rlhf-v1"] == 1.0


def test_a_score_that_is_no_number_is_told_with_its_row(checkpoint: Path, session: Session) -> None:
    broken = FunctionReward(name="own:score", function=lambda dialogues: [float("nan")] * len(dialogues))
    with pytest.raises(DataError, match="watch"):
        measure_own_answers({"sft": checkpoint}, PROMPTS, Rewards(), None, SETTINGS, session, beside={"watch": broken})


def test_without_an_outside_judge_the_models_own_scores_are_told_as_such(checkpoint: Path, session: Session) -> None:
    found = measure_own_answers({"sft": checkpoint}, PROMPTS, Rewards(), None, SETTINGS, session)
    assert found.measures[0].pairs == {}
    assert [(best.judge, best.figure) for best in found.measures[0].best] == [
        ("reward", "helpfulness"),
        ("reward", "safety"),
        ("reward", "combined"),
    ]
    said, *_ = own_answers(session.folder / FILE, JudgeWords())
    assert said.type == "paragraph"
    assert "Nobody outside training judged them" in said.text


def test_the_page_shows_pairs_best_of_n_and_a_curve_with_the_greedy_answers_level(
    found: OwnAnswersResult, session: Session, tmp_path: Path
) -> None:
    assert own_answers(tmp_path / "none.json", JudgeWords()) == []
    said, pairs, table, figure, *_ = own_answers(session.folder / FILE, JudgeWords())
    assert said.type == "paragraph"
    assert "sft drew 4 answers to each of 3 held-out helpfulness prompts" in said.text
    assert "By the outside judge, the helpfulness model's choice falls short of the greedy answer" in said.text
    assert pairs.type == table.type == "table"
    assert pairs.columns[1:4] == ("helpfulness model", "safety model", "combined reward")
    assert table.columns == ("chosen by", "mean score", "less greedy")
    assert [row[0] for row in table.rows][1:3] == ["chance: any drawn answer", "the helpfulness model"]
    assert [row[0] for row in table.rows][-1] == "the oracle"
    assert figure.type == "figure"
    assert [series.name for series in figure.series][-2:] == ["oracle", "greedy answer"]


def test_a_study_gets_right_over_wrong_and_what_the_choice_gains(found: OwnAnswersResult, session: Session) -> None:
    figures = own_figures(session.folder / FILE)
    start = "sft's own answers, helpfulness"
    best = found.measures[0].best[0]
    assert figures[f"{start}: all that differ, safety model"] == 1.0
    gain = f"{start}: best of 4 by the helpfulness model, outside.helpfulness, less greedy"
    assert figures[gain] == best.chosen["helpfulness"][-1].over_greedy.value
    assert figures[f"{start}: best of 4 by the oracle, outside.helpfulness"] == best.oracle[-1].score.value
