"""The temperature of a version's candidates: the reward proposes, the watch model disposes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from alignment.errors import CheckpointError
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.report.blocks import Table
from alignment.report.series import Figure
from alignment.train.session import Session
from recipes.stages.doubts import temperature_doubts
from reward.function import FunctionReward
from rl.best_of_n import expected_median
from rl.judges import RewardJudges
from rl.rejection import rejection_sample
from rl.report import rejection_section
from rl.result import AtTemperature, Swept
from rl.settings import RejectionSettings
from rl.sweep import choose
from rl.sweep_report import sweep_table
from tests.rl.test_rejection import SAMPLING, CountingSampler

COLD, WARM, HOT = 0.5, 0.75, 1.0
SETTINGS = RejectionSettings(
    temperatures=(HOT, COLD, WARM),
    samples_per_prompt=2,
    sampling=SAMPLING,
    context_length=128,
    batch_size=4,
    max_steps=1,
)
TEXTS = {
    0.0: ["the baker sells it"],
    COLD: ["the baker sells it", "the baker"],
    WARM: ["the baker sells bread", "the baker"],
    HOT: ["the miller sells bread and flour", "a"],
}
Draws = list[tuple[float, int, tuple[Any, ...]]]


def length(sign: int = 1) -> FunctionReward:
    """Likes long answers, or short ones."""
    return FunctionReward(lambda dialogues: [sign * float(len(d.turns[-1].content)) for d in dialogues])


@pytest.fixture
def draws(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Draws:
    """Every draw of the test: its temperature, its prompts and its names; the answers are those of `TEXTS`."""
    import rl.guard
    import rl.rejection
    import rl.sweep

    made: Draws = []

    def draw(_: Policy, prompts: list[Any], *, sampling: Any, names: tuple[Any, ...], **__: Any) -> list[list[Sample]]:
        made.append((sampling.temperature, len(prompts), names))
        ids = [policy.tokenizer.encode(text) for text in TEXTS[sampling.temperature]]
        samples = [
            Sample(token_ids=(*each, 2), log_probs=(0.0,) * (len(each) + 1), finish_reason="stop") for each in ids
        ]
        return [samples for _ in prompts]

    for module in (rl.guard, rl.rejection, rl.sweep):
        monkeypatch.setattr(module, "draw_samples", draw)
    return made


@pytest.fixture
def sweep(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, draws: Draws
) -> Callable[..., Swept]:
    """A version that likes long answers, watched by what is given."""

    def version(watch: FunctionReward | None, **changed: Any) -> Swept:
        long = replace(judges, helpfulness=length(), safety=None, watch=watch)
        figures = rejection_sample(policy, prompts, long, SETTINGS.model_copy(update=changed), session).sampling
        assert figures.sweep is not None
        assert json.loads((session.folder / "rejection.json").read_text())["sweep"]["chosen"] == figures.sweep.chosen
        return figures.sweep

    return version


def test_where_the_watch_model_agrees_the_temperature_with_the_highest_best_is_taken(
    sweep: Callable[..., Swept], draws: Draws
) -> None:
    found = sweep(length())
    assert (found.chosen, found.chosen_by) == (HOT, "watch")
    assert [each.temperature for each in found.temperatures] == [COLD, WARM, HOT]
    (version,) = [draw for draw in draws if draw[2][0] == "rejection"]
    assert version[0] == HOT


def test_a_temperature_whose_kept_answers_lose_to_greedy_by_the_watch_model_is_not_taken(
    sweep: Callable[..., Swept], draws: Draws
) -> None:
    misses_flour = FunctionReward(lambda dialogues: [-float("flour" in d.turns[-1].content) for d in dialogues])
    found = sweep(misses_flour)
    assert (found.chosen, found.chosen_by) == (WARM, "watch")
    assert [each.stands for each in found.temperatures] == [True, True, False]
    best = [each.best_by_n["2"]["value"] for each in found.temperatures]
    assert best[2] == max(best)  # the reward alone would have taken it
    assert [draw[0] for draw in draws if draw[2][0] == "rejection"] == [WARM]


def test_where_no_temperature_stands_the_lowest_is_taken_and_a_doubt_says_so(
    sweep: Callable[..., Swept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TEXTS, COLD, ["the baker sells all of it", "the baker"])
    found = sweep(length(-1))
    assert (found.chosen, found.chosen_by) == (COLD, "none")
    (told,) = temperature_doubts(SETTINGS, asdict(found), watched=True)
    assert "the lowest, 0.5, was taken" in told


def test_without_a_watch_model_the_reward_chooses_and_a_doubt_says_what_that_is_worth(
    sweep: Callable[..., Swept],
) -> None:
    found = sweep(None)
    assert (found.chosen, found.chosen_by) == (HOT, "reward")
    assert {each.stands for each in found.temperatures} == {None}
    (told,) = temperature_doubts(SETTINGS, asdict(found), watched=False)
    assert "the temperature of the candidates, 1, was chosen by reward alone" in told
    (foretold,) = temperature_doubts(SETTINGS, None, watched=False)
    assert "is chosen by reward alone" in foretold
    assert not [*temperature_doubts(SETTINGS, None, watched=True)]
    assert not [*temperature_doubts(RejectionSettings(), None, watched=False)]


def test_the_guard_decides_what_would_be_kept_in_the_sweep_too(sweep: Callable[..., Swept]) -> None:
    found = sweep(length(-1), guard=1e6)  # nothing but the greedy answers is kept: nothing is lost
    assert (found.chosen, [each.stands for each in found.temperatures]) == (HOT, [True, True, True])


def test_a_share_of_the_versions_own_prompts_is_asked_and_the_greedy_answers_to_them_once(
    sweep: Callable[..., Swept], draws: Draws
) -> None:
    assert sweep(length(), sweep_prompts=3, prompts_per_version=5).prompts == 3
    assert [(temperature, asked) for temperature, asked, _ in draws] == [
        *((COLD, 3), (WARM, 3), (HOT, 3), (0.0, 3)),
        (HOT, 5),
    ]


def test_without_temperatures_nothing_is_tried(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, draws: Draws
) -> None:
    settings = SETTINGS.model_copy(
        update={"temperatures": (), "sampling": SAMPLING.model_copy(update={"temperature": HOT})}
    )
    assert rejection_sample(policy, prompts, judges, settings, session).sampling.sweep is None
    assert [draw[2] for draw in draws] == [("rejection", 1)]
    assert "sweep" not in json.loads((session.folder / "rejection.json").read_text())


def at(temperature: float, best: float | None, stands: bool | None = True) -> AtTemperature:
    by_n = {} if best is None else {"4": {"value": best, "low": best, "high": best}}
    return AtTemperature(
        temperature=temperature, best_by_n=by_n, median_by_n={"1": 0.0}, usable_share=1, over_greedy={}, stands=stands
    )


def test_of_equal_temperatures_the_lower_is_taken_and_one_without_a_usable_answer_never() -> None:
    tried = [at(0.5, 1.0), at(0.7, 1.0), at(1.0, None)]
    assert choose(tried, prompts=1, samples=4, watched=True).chosen == 0.5
    assert choose([at(0.5, 0.0, None), at(1.0, 9.0, None)], prompts=1, samples=4, watched=True).chosen_by == "none"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_expected_median_of_n_is_the_mean_over_all_draws(n: int) -> None:
    scores = (0.5, -1.0, 2.0, 0.5, 1.0)
    medians = [median(draw) for draw in combinations(scores, n)]
    assert expected_median(scores, n) == pytest.approx(sum(medians) / len(medians))


def test_samples_of_a_sweep_are_not_drawn_again_after_an_interruption(
    policy: Policy,
    prompts: list[Dialogue],
    judges: RewardJudges,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = replace(judges, watch=length())
    sampler = CountingSampler(fail_after=40)  # 2 answers x 8 prompts at each temperature
    monkeypatch.setattr("alignment.generate.draw.make_sampler", lambda policy: sampler)
    with pytest.raises(KeyboardInterrupt):
        rejection_sample(policy, prompts, watched, SETTINGS, session)
    sampler.fail_after = None
    first = rejection_sample(policy, prompts, watched, SETTINGS, session).sampling.sweep
    assert sampler.drawn == 3 * 16 + 8 + 16  # the sweep, the greedy answers, the version's own
    (session.folder / "samples" / "sweep-0.5.jsonl").unlink()
    assert rejection_sample(policy, prompts, watched, SETTINGS, session).sampling.sweep == first
    assert sampler.drawn == 3 * 16 + 8 + 16  # what was chosen holds


def test_a_damaged_choice_is_refused_by_name(
    policy: Policy, prompts: list[Dialogue], judges: RewardJudges, session: Session, draws: Draws
) -> None:
    (session.folder / "samples").mkdir(parents=True)
    (session.folder / "samples" / "swept.json").write_text('{"fingerprint": ')
    with pytest.raises(CheckpointError, match=r"swept\.json does not say which temperature was chosen"):
        rejection_sample(policy, prompts, judges, SETTINGS, session)


def test_the_page_shows_the_best_by_temperature_and_the_best_beside_the_median(
    sweep: Callable[..., Swept], session: Session, tmp_path: Path
) -> None:
    sweep(length())
    page = rejection_section(session.folder, stage="rlhf-v1", result={})
    figures = {block.title: block for block in page.blocks if isinstance(block, Figure)}
    assert [series.name for series in figures["Best of N by temperature"].series] == ["T 0.5", "T 0.75", "T 1"]
    best, middle = figures["Best and median of N at T 1"].series
    assert (best.x, middle.x) == ((1.0, 2.0), (1.0, 2.0))
    assert best.y[1] > best.y[0] == pytest.approx(middle.y[0])
    (table,) = [block for block in page.details if isinstance(block, Table) and block.title == "Temperatures tried"]
    assert [row[-1] for row in table.rows] == ["", "", "chosen"]


def test_the_table_tells_an_outside_watch_models_wins_and_missing_verdicts() -> None:
    lost = {"value": -0.4, "low": -0.5, "high": -0.3}
    tried = replace(at(0.5, 1.0, stands=False), over_greedy={"reward": lost, "wins": lost}, without_verdict=2)
    (table,) = sweep_table(asdict(choose([tried], prompts=8, samples=4, watched=True)))
    assert "outside watch model" in table.columns[-2]
    assert "no verdict on 2 answers" in table.note
    assert "it is the lowest" in table.note
