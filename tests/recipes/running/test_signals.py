"""SIGINT and SIGTERM: the first saves and leaves a run that resumes, a later one leaves at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alignment.train.session import StopFlag
from recipes.reading.schema import Recipe
from recipes.running.record import read_record
from recipes.running.runner import run
from recipes.running.signals import ONE_REQUEST, stopping_at_signals

pytestmark = pytest.mark.slow  # starts processes

ROOT = Path(__file__).parents[3]


@contextmanager
def child(recipe_file: Path, out: Path, manner: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, inside its SFT stage."""
    command = [sys.executable, str(Path(__file__).with_name("stopping_child.py")), str(recipe_file), str(out), manner]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("step")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_ends_the_step_and_leaves_a_run_that_goes_on(
    number: int, code: int, recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with child(recipe_file, out, "polite") as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == code
        assert f"stopped by signal {number} after step" in errors
        assert "Traceback" not in errors
    record = read_record(out / "03-sft")
    assert record is not None
    assert record.status == "interrupted"
    run(recipe, out=out, stages=stages)
    assert stages.calls[0] == "sft"


def test_a_signal_that_comes_twice_in_a_moment_is_one_request(recipe_file: Path, tmp_path: Path) -> None:
    with child(recipe_file, tmp_path / "run", "slow") as process:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):  # as `make` and a terminal pass them on
            process.send_signal(number)
            time.sleep(0.1)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 143
        assert "stopped by signal 15 after step" in errors
    record = read_record(tmp_path / "run" / "03-sft")
    assert record is not None
    assert record.status == "interrupted"  # it went through its end, which a process that leaves at once does not


def test_a_signal_two_seconds_later_leaves_at_once(recipe_file: Path, tmp_path: Path) -> None:
    with child(recipe_file, tmp_path / "run", "deaf") as process:
        process.send_signal(signal.SIGINT)
        time.sleep(ONE_REQUEST + 0.2)
        assert process.poll() is None  # deaf: the first one alone does not end it
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=5)
        assert process.returncode == 130
        assert time.monotonic() - began < 2


def test_a_killed_run_goes_on_from_the_stage_it_was_in(
    recipe: Recipe, recipe_file: Path, stages: Any, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with child(recipe_file, out, "polite") as process:
        process.kill()
        process.wait(timeout=10)
    assert [path.name for path in sorted(out.glob("0*"))] == ["01-tokenizer", "02-pretrain", "03-sft"]
    run(recipe, out=out, stages=stages)
    assert stages.calls[0] == "sft"


def test_earlier_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_at_signals(StopFlag()):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_handled() -> None:
    found: list[Any] = []

    def work() -> None:
        with stopping_at_signals(StopFlag()):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
