"""R9: of eight starts on one run at once exactly one works; killed, it leaves nothing that anybody must clear."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from alignment.errors import RunLocked
from alignment.train.session import StopFlag
from recipes.load import load_recipe
from recipes.reading.schema import Recipe
from recipes.running.record import read_record
from recipes.running.runner import run
from recipes.stages.context import StageContext
from recipes.stages.kind import StageInputs
from recipes.stages.table import STAGES

STARTS, ROUNDS, SECONDS = 8, 10, 2.0
RECIPE = """
model: {size: tiny}
world: {size: seconds}
tokenizer: {vocab_size: 400}
pretrain: {data: {train: [{world: documents}]}}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "recipe.yaml")


def _done(inputs: StageInputs, context: StageContext) -> dict[str, Any]:
    (context.session.folder / "made").write_text(context.stage.name)
    return {}


def _start(recipe: Recipe, out: Path, together: Any, told: Any) -> None:
    """One start: works until it is killed, or tells why it may not and after how long."""

    def work(inputs: StageInputs, context: StageContext) -> dict[str, Any]:
        told.put((os.getpid(), None, 0.0))
        signal.pause()
        return {}

    together.wait(30)
    began = time.monotonic()
    try:
        run(recipe, out=out, stages=dict.fromkeys(STAGES, work), stop=StopFlag())
    except RunLocked as error:
        told.put((os.getpid(), f"{error.exit_code} {error}", time.monotonic() - began))


def test_in_each_of_ten_rounds_one_of_eight_works_and_a_killed_one_blocks_nobody(
    recipe: Recipe, tmp_path: Path
) -> None:
    fork, out = multiprocessing.get_context("fork"), tmp_path / "run"
    for number in range(1, ROUNDS + 1):
        together, told = fork.Barrier(STARTS), fork.Queue()
        processes = [fork.Process(target=_start, args=(recipe, out, together, told)) for _ in range(STARTS)]
        for process in processes:
            process.start()
        try:
            found = [told.get(timeout=30) for _ in range(STARTS)]
        finally:
            for process in processes:  # the one at work dies as by kill -9
                process.kill()
                process.join()
        workers = [pid for pid, refused, _ in found if refused is None]
        assert len(workers) == 1
        holder = (
            rf"3 .* in use by process {workers[0]} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\dT\S+Z"
        )
        assert all(re.match(holder, refused) for _, refused, _ in found if refused is not None)
        assert max(seconds for *_, seconds in found) <= SECONDS
        record = read_record(out / "01-tokenizer")
        assert record is not None
        assert (record.status, record.attempts) == ("running", number)  # the next round started at once
    began = time.monotonic()
    run(recipe, out=out, stages=dict.fromkeys(STAGES, _done), stop=StopFlag())
    assert time.monotonic() - began <= SECONDS
    assert json.loads((out / "01-tokenizer" / "stage.json").read_text())["attempts"] == ROUNDS + 1
