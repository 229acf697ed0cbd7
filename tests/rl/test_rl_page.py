"""RLHF's chapters of the page: best of N as one statistic, PPO's curves apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.report.blocks import Facts, Paragraph, Section
from alignment.report.series import Figure
from alignment.store.journal import Journal
from rl.report import ppo_section, rejection_section

SAMPLING: dict[str, Any] = {
    "version": 2,
    "mean_reward": 0.25,
    "median_reward": 0.4,
    "kept_reward": 0.9,
    "pool_size": 3,
    "pool_origins": {"v2": 3},
    "max_reward_by_n": {"1": 0.2, "2": 0.6},
    "best_by_n": {
        "1": {"value": 0.25, "low": 0.2, "high": 0.3},
        "2": {"value": 0.75, "low": 0.7, "high": 0.8},
        "16": {"value": 1.25, "low": 1.2, "high": 1.3},
    },
}


def rejection(folder: Path, **changed: Any) -> Section:
    (folder / "rejection.json").write_text(json.dumps(SAMPLING | changed, sort_keys=True))
    return rejection_section(folder, stage="rlhf-v2", result={})


def test_best_of_n_is_a_mean_with_its_interval_beside_the_mean_of_one_answer(tmp_path: Path) -> None:
    found = rejection(tmp_path)
    figure = found.blocks[0]
    assert isinstance(figure, Figure)
    best, one = figure.series
    assert (best.x, best.y) == ((1.0, 2.0, 16.0), (0.25, 0.75, 1.25))
    assert (best.low, best.high) == ((0.2, 0.7, 1.2), (0.3, 0.8, 1.3))
    assert set(one.y) == {0.25}  # the same statistic: a mean, not a median
    assert found.summary == "best of 16: reward +1.00 over one; answers kept: 3"


def test_a_run_that_kept_no_intervals_has_its_figure_all_the_same(tmp_path: Path) -> None:
    figure = rejection(tmp_path, best_by_n={}).blocks[0]
    assert isinstance(figure, Figure)
    assert figure.series[0].y == (0.2, 0.6)


def test_a_version_whose_every_answer_was_unusable_says_so_and_draws_nothing(tmp_path: Path) -> None:
    found = rejection(tmp_path, best_by_n={}, max_reward_by_n={})  # it is trained on what earlier versions kept
    assert (found.blocks, found.summary) == ((), "none of its own answers could be kept; answers kept: 3")


def test_rewards_stand_apart_from_counts_as_the_reward_models_word(tmp_path: Path) -> None:
    facts = {block.title: block for block in rejection(tmp_path).details if isinstance(block, Facts)}
    assert {key for key, _ in facts["Rewards"].items} == {"mean reward", "median reward", "kept reward"}
    assert (facts["Rewards"].scored_by, facts["Sampling"].scored_by) == ("reward", "")


METRICS = {
    "reward": 0.5,
    "held_out_reward": 0.9,
    "kl": -0.01,
    "entropy": 2.0,
    "clip_fraction": 0.1,
    "explained_variance": 0.3,
    "sampler_gap": 1e-6,
    "value_only": 0.0,
}


def ppo(folder: Path, course: list[dict[str, Any]], metrics: dict[str, float], **more: Any) -> Section:
    found = {"iterations": 2, "held_out": course, "start_reward": 0.1, "best_reward": 0.9, "best_iteration": 1}
    found |= more
    (folder / "ppo.json").write_text(json.dumps(found))
    with Journal(folder / "metrics.jsonl") as journal:
        for step in (1, 2):
            journal.append({"step": step, **metrics})
    return ppo_section(folder, stage="rlhf-v5", result={})


PARTED = {"iteration": 2, "best": 1, "reward": 0.5, "watch": -0.25, "error": 0.1}
WATCHED = [
    {"iteration": float(i), "reward": reward, "helpfulness": reward, "watch": watch}
    for i, (reward, watch) in enumerate([(0.1, 0.2), (0.4, 0.5), (0.9, 0.25)])
]


def test_where_reward_and_watch_model_part_is_marked_in_the_figure_and_said_in_a_sentence(tmp_path: Path) -> None:
    found = ppo(tmp_path, WATCHED, METRICS, parted=PARTED)
    figure, told = found.blocks[:2]
    assert isinstance(figure, Figure)
    assert isinstance(told, Paragraph)
    mark = figure.series[-1]
    assert (mark.name, mark.x, mark.y) == ("reward and watch model part", (2.0, 2.0), (0.9, 0.25))
    assert told.text.startswith(
        "Reward and watch model part at iteration 2: since iteration 1 the held-out reward rose"
    )


def test_where_they_do_not_part_nothing_is_marked(tmp_path: Path) -> None:
    found = ppo(tmp_path, WATCHED, METRICS)
    figure = found.blocks[0]
    assert isinstance(figure, Figure)
    assert [series.name for series in figure.series] == ["combined", "helpfulness", "watch model"]
    assert not any(isinstance(block, Paragraph) for block in found.blocks)


def drawn_in(found: Section) -> dict[str, Figure]:
    return {block.title: block for block in (*found.blocks, *found.details) if isinstance(block, Figure)}


COURSE = [{"iteration": float(i), "reward": 0.1, "helpfulness": 0.2, "safety": 0.3} for i in range(3)]


def test_sampled_and_greedy_rewards_have_a_figure_each(tmp_path: Path) -> None:
    found = drawn_in(ppo(tmp_path, COURSE, METRICS))
    assert [series.name for series in found["held-out reward, greedy answers"].series] == [
        "combined",
        "helpfulness",
        "safety",
    ]
    assert [series.y for series in found["sampled reward"].series] == [(0.5, 0.5)]


def test_entropy_clip_fraction_and_explained_variance_are_drawn_where_they_were_logged(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "few").mkdir()
    titles = {
        "entropy of the policy, nats per token",
        "share of tokens whose ratio is clipped",
        "explained variance of the returns",
    }
    assert titles < set(drawn_in(ppo(tmp_path / "all", COURSE, METRICS)))
    assert not titles & set(drawn_in(ppo(tmp_path / "few", COURSE, {"reward": 0.5})))


def test_a_kl_below_zero_is_explained(tmp_path: Path) -> None:
    assert (
        "never below 0; its estimate"
        in drawn_in(ppo(tmp_path, COURSE, METRICS))["KL to the start, nats per answer"].note
    )


@pytest.mark.parametrize("gone", [{"safety": None}, {}])
def test_a_run_with_one_reward_model_shows_the_scores_that_there_are(gone: dict[str, None], tmp_path: Path) -> None:
    course = [{"iteration": 0.0, "reward": 0.1, "helpfulness": 0.2, **gone}]
    (drawn,) = (f for f in drawn_in(ppo(tmp_path, course, METRICS)).values() if "greedy" in f.title)
    assert [series.name for series in drawn.series] == ["combined", "helpfulness"]
