"""The golden losses: the first logged losses of every stage of the tiny run, checked in beside this file.

`python -m tests.golden.write` writes them anew; do it only in a commit that says why they changed.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from alignment.store.journal import read_journal
from recipes.graph import stages_of
from recipes.recipe import load_recipe
from recipes.runner import run
from tests.tiny_recipe import TINY

FILE = Path(__file__).with_name("losses.json")
COUNT = 5
_LOSSES = ("loss", "policy_loss", "value_loss", "kl")


def machine() -> dict[str, str]:
    """What decides whether losses can be the same to the last bit."""
    import torch

    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }


def first_losses(finished: Path) -> dict[str, list[dict[str, float]]]:
    """Stage -> its first logged losses, from a run's `metrics.jsonl` files."""
    found: dict[str, list[dict[str, float]]] = {}
    for stage in stages_of(load_recipe("quickstart", TINY)):
        rows = read_journal(finished / stage.folder / "metrics.jsonl")
        if rows:
            found[stage.name] = [{key: row[key] for key in _LOSSES if key in row} for row in rows[:COUNT]]
    return found


def golden() -> dict[str, Any]:
    """What is checked in: {"machine": …, "losses": …}."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def main() -> None:
    """Run the tiny recipe and write its losses."""
    with tempfile.TemporaryDirectory() as folder:
        run(load_recipe("quickstart", TINY), out=Path(folder) / "run")
        losses = first_losses(Path(folder) / "run")
    FILE.write_text(json.dumps({"machine": machine(), "losses": losses}, indent=1) + "\n", encoding="utf-8")
    print(f"{FILE}: {sum(map(len, losses.values()))} rows of {len(losses)} stages")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
