"""kill -9 of a whole run's process group at random moments, restarted until done, compared with an undisturbed run.

`python -m tests.faults.random_kills --kills 20 --seed 0` does it to the quickstart (about twice its time);
`--tiny` to the same recipe shrunk to seconds; `--undisturbed RUN` compares with a run that is there already.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignment.randomness import named_generator
from recipes.running.folder import stage_folders
from recipes.running.record import StageRecord, read_record
from tests.faults.same import differences
from tests.tiny_recipe import TINY

ROOT = Path(__file__).resolve().parents[2]


@dataclass(kw_only=True)
class Outcome:
    """What the kills came to.

    Attributes:
        kills: how many processes were killed at work.
        during: the stage that each of them died in.
        repeated: finished stages that were run again.
        differences: from the undisturbed run; empty means Equal.
    """

    kills: int = 0
    during: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0


def start(recipe: str, overrides: Sequence[str], out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start `align run` as the leader of a process group of its own."""
    command = [sys.executable, "-m", "recipes.cli", "run", recipe, *overrides, "--out", str(out)]
    with log.open("ab") as told:
        return subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told, start_new_session=True)


def finish(recipe: str, overrides: Sequence[str], out: Path, log: Path) -> float:
    """Run to the end; returns the seconds.

    Raises:
        RuntimeError: it failed; carries the end of what it said.
    """
    began = time.monotonic()
    process = start(recipe, overrides, out, log)
    if code := process.wait():
        raise RuntimeError(f"align run ended with {code}:\n{log.read_text(errors='replace')[-2000:]}")
    return time.monotonic() - began


def finished_stages(run: Path) -> dict[str, StageRecord]:
    """Records of the stages that are finished."""
    if not run.is_dir():
        return {}
    records = [record for folder in stage_folders(run) if (record := read_record(folder)) is not None]
    return {record.name: record for record in records if record.status == "finished"}


def kill_at_random(
    recipe: str,
    overrides: Sequence[str],
    *,
    kills: int,
    seed: int,
    place: Path,
    undisturbed: Path,
    duration: float,
    startup: float = 8.0,
    spread: float = 3.0,
) -> Outcome:
    """Kill a run `kills` times, each time after a random while, then let it end and compare.

    Args:
        duration: seconds of the undisturbed run; the kills are spread over it, with room for what is done again.
        startup: seconds before a run begins to work; most of it passes before a kill.
        spread: times the share of a kill in `duration` that a run lives at most; above 2 a run may end before the last.
    """
    outcome = Outcome()
    run, log = place / "disturbed", place / "disturbed.log"
    draws = named_generator(seed, "random-kills")
    began = time.monotonic()
    done: dict[str, StageRecord] = {}
    while outcome.kills < kills:
        process = start(recipe, overrides, run, log)
        try:
            process.wait(startup * 0.9 + float(draws.uniform(0.0, spread * duration / (kills + 1))))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            outcome.kills += 1
        else:
            if process.returncode:
                raise RuntimeError(f"align run failed by itself:\n{log.read_text(errors='replace')[-2000:]}") from None
        outcome.repeated += _repeated(done, run)
        done = finished_stages(run)
        if process.returncode == 0:
            break  # it reached its end before the last kill
        outcome.during.append(_working_on(run))
        print(f"kill {outcome.kills}: {outcome.during[-1]}, {len(done)} stages finished", flush=True)
    finish(recipe, overrides, run, log)
    outcome.repeated += _repeated(done, run)
    outcome.seconds = time.monotonic() - began
    outcome.differences = differences(undisturbed, run)
    return outcome


def _repeated(before: dict[str, StageRecord], run: Path) -> list[str]:
    now = finished_stages(run)
    return [name for name, record in before.items() if now.get(name) != record]


def _working_on(run: Path) -> str:
    if not run.is_dir():
        return "before the run folder"
    names = [path.name for path in stage_folders(run) if (record := read_record(path)) and record.status == "running"]
    return names[-1] if names else "between stages"


def main() -> int:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.random_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--tiny", action="store_true", help="the recipe shrunk to seconds")
    parser.add_argument("--undisturbed", type=Path, help="a finished run of the same recipe to compare with")
    parser.add_argument("--duration", type=float, help="its seconds, where --undisturbed is given")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave the runs there")
    asked = parser.parse_args()
    overrides = TINY if asked.tiny else ()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        undisturbed, duration = asked.undisturbed, asked.duration
        if undisturbed is None:
            undisturbed = place / "undisturbed"
            duration = finish(asked.recipe, overrides, undisturbed, place / "undisturbed.log")
            print(f"undisturbed: {duration:.0f} s", flush=True)
        elif duration is None:
            duration = sum(record.seconds for record in finished_stages(undisturbed).values())
        outcome = kill_at_random(
            asked.recipe,
            overrides,
            kills=asked.kills,
            seed=asked.seed,
            place=place,
            undisturbed=undisturbed,
            duration=duration,
        )
    same = "Equal" if not outcome.differences else "DIFFERENT"
    again = ", ".join(outcome.repeated) or "none"
    print(f"{outcome.kills} kills, {outcome.seconds:.0f} s: {same}; finished stages that ran again: {again}")
    for text in outcome.differences:
        print(f"    {text}")
    return 0 if same == "Equal" and not outcome.repeated and outcome.kills == asked.kills else 1


if __name__ == "__main__":
    sys.exit(main())
