"""Own chats in a recipe with the embedded town: the run comes to its end, and the town's judge judges only the town."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.evaluate.result import read_answers, read_evaluation
from recipes.load import load_recipe
from recipes.running.runner import run
from recipes.running.telling import Quiet

SMALL = (
    "world.size=seconds",
    "world.num_people=12",
    "world.biographies_per_person=4",
    "compute.threads=1",
    "compute.precision=fp32",
    "tokenizer.vocab_size=420",
    "model.width=32",
    "model.layers=2",
    "model.heads=2",
    "model.kv_heads=1",
    "pretrain.max_steps=2",
    "sft.max_steps=2",
    "evaluate.num_prompts=3",
    "evaluate.sampling.max_new_tokens=4",
)


class Told(Quiet):
    """Remembers how each stage ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def stage_ends(self, name: str, status: str, seconds: float, note: str) -> None:
        self.ends.append(f"{name}: {status}; {note}")


def test_a_begun_recipe_runs_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipes.cli.begin import init_recipe

    monkeypatch.chdir(tmp_path)
    rows = [{"instruction": f"How much is {i} and {i}?", "output": f"{i} and {i} are {2 * i}."} for i in range(40)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    init_recipe(Path("my.yaml"), origin="quickstart", data="chats.jsonl")
    told = Told()
    finished = run(load_recipe("my.yaml", SMALL), display=told)
    assert finished.folder == Path("runs/my")
    assert [stage.name for stage in finished.stages] == ["tokenizer", "pretrain", "sft", "evaluate", "report"]
    assert "evaluate: finished; 3 prompts answered; nobody judged" in told.ends
    evaluated = tmp_path / "runs" / "my" / "04-evaluate"
    assert read_evaluation(evaluated).judges == ()
    assert {answer.version for answer in read_answers(evaluated)} == {"pretrain", "sft"}  # side by side on the page
