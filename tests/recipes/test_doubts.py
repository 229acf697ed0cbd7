"""A stage that cannot have learnt says so: on the terminal, in `align check` and on the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alignment.train.settings import OptimizerSettings
from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.reading.schema import Recipe
from recipes.running.check import check
from recipes.running.page import run_report
from recipes.running.runner import run
from recipes.running.telling import Quiet
from recipes.stages.doubts import collect_doubts, training_doubts


def doubts(recipe: Recipe, stage: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    """What a stage of a recipe says of a result."""
    (planned,) = (planned for planned in stages_of(recipe) if planned.name == stage)
    return planned.kind.doubts(planned.inputs, result)


@pytest.mark.parametrize("stage", ["pretrain", "sft", "reward-helpfulness", "reward-safety", "rlhf-v1", "gatt"])
def test_every_stage_that_trains_doubts_a_single_step(stage: str, recipe: Recipe) -> None:
    (told,) = doubts(recipe, stage, {"steps": 1})
    assert told.startswith("one step in all, of which nothing can be learnt")
    assert doubts(recipe, stage, {"steps": 1_000_000}) == ()


def test_ghost_attention_says_so_where_most_dialogues_of_composed_turns_end_early(recipe: Recipe) -> None:
    made = {"planned": 10.0, "complete": 4.0, "turns_kept": 30.0}
    (told,) = doubts(recipe, "gatt", {"steps": 1_000, "synthesis": made})
    assert told.startswith("4 of 10 dialogues came to all ")
    assert doubts(recipe, "gatt", {"steps": 1_000, "synthesis": made | {"complete": 5.0}}) == ()
    assert doubts(recipe, "gatt", {"steps": 1_000, "synthesis": {"planned": 10.0, "complete": 4.0}}) == ()


@pytest.mark.parametrize(
    ("optimizer", "steps", "told"),
    [
        (OptimizerSettings(warmup_steps=40), 40, True),
        (OptimizerSettings(warmup_steps=40), 41, False),
        (OptimizerSettings(warmup_fraction=0.9), 5, True),  # 4.5 steps, rounded up
        (OptimizerSettings(warmup_fraction=0.9), 100, False),
    ],
)
def test_a_warm_up_that_does_not_end_before_the_training_is_told(
    optimizer: OptimizerSettings, steps: int, told: bool
) -> None:
    found = list(training_doubts(optimizer, {"steps": steps}, "sft"))
    assert [f"training of {steps}:" in doubt for doubt in found] == [True] * told


@pytest.mark.parametrize(("low", "told"), [(0.37, True), (0.5, True), (0.51, False)])
def test_an_accuracy_that_could_be_chance_is_told(low: float, told: bool, recipe: Recipe) -> None:
    share = {"value": 0.6, "low": low, "high": 0.7, "pairs": 40}
    found = doubts(recipe, "reward-safety", {"steps": 1000, "evaluation": {"accuracy": {"all": share}}})
    assert ["cannot be told from chance" in doubt for doubt in found] == [True] * told


@pytest.mark.parametrize(
    ("tokens", "cut", "told"), [(1.0, 0.0, ["is empty"]), (64.0, 1.0, ["was cut"]), (40.0, 0.99, [])]
)
def test_answers_that_are_all_empty_or_cut_are_told(tokens: float, cut: float, told: list[str], recipe: Recipe) -> None:
    drawn = doubts(recipe, "rlhf-v1", {"mean_answer_tokens": tokens, "cut_share": cut})
    figures = {"answer_tokens": {"value": tokens}, "finished": {"value": 1.0 - cut}}
    row = {"version": "sft", "campaign": "helpfulness", "task": "", "figures": figures}
    judged = doubts(recipe, "evaluate", {"versions": [row, {**row, "task": "recall"}]})
    for found in (drawn, judged):
        assert [part in doubt for doubt, part in zip(found, told, strict=True)] == [True] * len(told)


def test_ppo_says_where_no_iteration_was_better_than_the_start(recipe: Recipe) -> None:
    assert "no iteration was better" in doubts(recipe, "rlhf-v3", {"best_iteration": 0})[0]
    assert doubts(recipe, "rlhf-v3", {"best_iteration": 3}) == ()


def test_ppo_says_where_reward_and_watch_model_part(recipe: Recipe) -> None:
    parted = {"iteration": 40, "best": 10, "reward": 0.3, "watch": -0.25, "error": 0.1}
    (told,) = doubts(recipe, "rlhf-v3", {"best_iteration": 10, "parted": parted})
    assert told.startswith("reward and watch model part at iteration 40")


def test_the_evaluation_says_which_versions_are_rewarded_more_and_judged_worse(recipe: Recipe) -> None:
    assert doubts(recipe, "evaluate", {"versions": [], "parted": ["from rlhf-v1 to rlhf-v2 …"]}) == (
        "from rlhf-v1 to rlhf-v2 …",
    )


class Told(Quiet):
    """Remembers the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def ten_chats(tmp_path: Path) -> Recipe:
    """Ten dialogues, two epochs, everything else as it comes."""
    rows = [{"instruction": f"Say the number {i}.", "output": f"{i} it is."} for i in range(10)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.yaml").write_text(
        f"""\
model: {{size: tiny, context_length: 256}}
tokenizer: {{vocab_size: 300}}
pretrain:
  data: {{train: [{{path: {tmp_path}/chats.jsonl}}]}}
  context_length: 64
  batch_size: 1
  epochs: 4
  optimizer: {{warmup_steps: 0}}
sft: {{data: {{train: [{{path: {tmp_path}/chats.jsonl}}]}}, epochs: 2}}
"""
    )
    return load_recipe(tmp_path / "own.yaml")


def test_check_foretells_what_is_known_before(ten_chats: Recipe, tmp_path: Path) -> None:
    (told,) = check(ten_chats, tmp_path).doubts
    assert told.startswith("sft: one step in all")


def test_a_run_tells_it_on_the_terminal_and_on_the_page(ten_chats: Recipe, tmp_path: Path) -> None:
    told = Told()
    run(ten_chats, out=tmp_path / "run", until="sft", display=told)
    (warning,) = (line for line in told.lines if "warning" in line)
    assert warning.startswith("warning: sft: one step in all")
    (section,) = (section for section in run_report(tmp_path / "run").sections if section.id == "sft")
    assert section.summary.startswith("Warning: one step in all")


def test_a_judge_that_obeys_the_answers_is_told() -> None:
    asked = {"probes": 4, "followed": 3}
    (told,) = collect_doubts({"asked": asked})
    assert told.startswith("the outside model was talked into 3 of 4 worthless answers")
    assert not list(collect_doubts({"asked": {**asked, "followed": 0}}))
