"""Disturb a stage at every one of its write events, go on, and compare with the undisturbed run.

`python -m tests.faults.sweep [--fault kill] [--stage sft …] [--sites]` prints a table: events, points tried,
points that ended Equal.  `--sites` tries the first event of every place in the code instead of all events.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from alignment.store.atomic import ASIDE
from recipes.running.signals import ONE_REQUEST
from tests.faults.children import each_in_child, in_child
from tests.faults.events import NEEDS_SPACE, Act, Event, no_space, watch
from tests.faults.same import differences
from tests.faults.stages import Swept, swept_stages, warm_up

KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls a process at a write event.

    Attributes:
        at: event number -> what to do at every event.
        codes: exit codes that the disturbed command may end with.
        check: (folder, output) -> what is wrong right after it.
    """

    at: Callable[[int], Act]
    codes: tuple[int, ...]
    check: Callable[[Path, str], list[str]] = lambda folder, output: []
    kinds: tuple[str, ...] = ("open", "fsync", "rename", "unlink", "rmdir", "mkdir", "weights", "append")


@dataclass(kw_only=True)
class Swing:
    """What a sweep over one stage came to."""

    stage: str
    events: int
    tried: int
    seconds: float
    failures: list[str] = field(default_factory=list)


def kill(number: int) -> Act:
    """Die at event `number` as by kill -9, with half of what was being written on the disk."""

    def act(event: Event, torn: Callable[[], None]) -> None:
        if event.number == number:
            torn()
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def fill_disk(number: int) -> Act:
    """From event `number` on the disk is full."""

    def act(event: Event, torn: Callable[[], None]) -> None:
        if event.number >= number and event.kind in NEEDS_SPACE:
            torn()
            if event.kind == "weights":
                raise safetensors_error()
            raise no_space(event.name)

    return act


def safetensors_error() -> Exception:
    """What safetensors raises on a full disk: its own class, the system's code only in the text."""
    from safetensors import SafetensorError

    return SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def send(number: int, signals: Sequence[int], *, pause: float = 0.0) -> Act:
    """Send signals to the process at event `number`, so many seconds apart; it goes on."""

    def act(event: Event, torn: Callable[[], None]) -> None:
        if event.number == number:
            for position, one in enumerate(signals):
                time.sleep(pause if position else 0.0)
                os.kill(os.getpid(), one)

    return act


def _space_is_told(folder: Path, output: str) -> list[str]:
    wrong = [f"left {path.relative_to(folder)}" for path in folder.rglob(f"{ASIDE}*")]
    if "no space left" not in output.lower():
        wrong.append(f"did not say that the disk is full: {output[-300:]!r}")
    return wrong


FAULTS = {
    "kill": Fault(at=kill, codes=(KILLED,)),
    "disk": Fault(at=fill_disk, codes=(1, 2, 3, 4, 5), check=_space_is_told, kinds=NEEDS_SPACE),
    "term": Fault(at=lambda number: send(number, [signal.SIGTERM]), codes=(143, 0)),
    "int": Fault(at=lambda number: send(number, [signal.SIGINT]), codes=(130, 0)),
    # in a moment: one request; later: it leaves at once
    "twice": Fault(at=lambda number: send(number, [signal.SIGTERM, signal.SIGTERM]), codes=(143, 0)),
    "again": Fault(
        at=lambda number: send(number, [signal.SIGTERM, signal.SIGTERM], pause=ONE_REQUEST + 0.1), codes=(143,)
    ),
}


def write_events(stage: Swept, place: Path) -> list[Event]:
    """The write events of one undisturbed run of a stage."""
    folder = stage.lay_out(place / "counting")
    found = place / "events.txt"

    def counted() -> int:
        with found.open("w") as file:
            handle = os.dup(file.fileno())

        def note(event: Event, torn: Callable[[], None]) -> None:
            os.write(handle, (json.dumps(asdict(event)) + "\n").encode())

        watch(folder, note)
        return stage.work(folder)

    ended = in_child(counted)
    if ended.code:
        raise RuntimeError(f"{stage.name} failed undisturbed with {ended.code}:\n{ended.output}")
    shutil.rmtree(folder)
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    return [Event(**{**row, "site": tuple(row["site"])}) for row in rows]


def first_of_each_site(events: Sequence[Event], depth: int = 2) -> list[Event]:
    """The first event of every kind at every place in the code; a place is `depth` callers deep."""
    seen: dict[tuple[str, tuple[str, ...]], Event] = {}
    for event in events:
        seen.setdefault((event.kind, event.site[:depth]), event)
    return list(seen.values())


def disturbed(stage: Swept, fault: Fault, event: Event, place: Path) -> list[str]:
    """Disturb a fresh run of the stage at one event, go on, and return what is wrong."""
    folder = stage.lay_out(place / f"{stage.name}-{event.number}")

    def suffer() -> int:
        watch(folder, fault.at(event.number))
        return stage.work(folder)

    ended = in_child(suffer)
    wrong = []
    if ended.code not in fault.codes:
        wrong.append(f"ended with {ended.code}: {ended.output[-300:]!r}")
    if ended.code != 0:
        wrong += fault.check(folder, ended.output)
        resumed = in_child(lambda: stage.work(folder))
        if resumed.code:
            wrong.append(f"did not go on, {resumed.code}: {resumed.output[-500:]!r}")
    for name in stage.compared:
        wrong += [f"{name}/{text}" for text in differences(stage.finished / name, folder / name)]
    wrong += [f"left {path.relative_to(folder)}" for path in folder.rglob(f"{ASIDE}*")]
    shutil.rmtree(folder)
    return [f"{event.number} {event.kind} {event.name} ({' < '.join(event.site)}): {text}" for text in wrong]


def sweep(
    stage: Swept,
    fault: Fault,
    place: Path,
    *,
    choose: Callable[[Sequence[Event]], Sequence[Event]] = lambda events: events,
    jobs: int = 2,
) -> Swing:
    """Disturb a stage at the chosen ones of its write events (all by default)."""
    began = time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    events = write_events(stage, place)
    points = [event for event in choose(events) if event.kind in fault.kinds]
    swing = Swing(stage=stage.name, events=len(events), tried=len(points), seconds=0.0)
    for _, wrong in each_in_child(lambda event: disturbed(stage, fault, event, place), points, jobs=jobs):
        swing.failures += wrong
    swing.seconds = time.monotonic() - began
    return swing


def main() -> int:
    """Sweep and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sweep", description=__doc__)
    parser.add_argument("--fault", choices=sorted(FAULTS), default="kill")
    parser.add_argument("--stage", nargs="*", help="names of stages (default: all)")
    parser.add_argument("--sites", action="store_true", help="the first event of every place in the code only")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    warm_up()
    failed = tried = swept = 0
    with tempfile.TemporaryDirectory() as folder:
        stages = swept_stages(Path(folder).resolve() / "undisturbed")
        unknown = set(asked.stage or ()) - {stage.name for stage in stages}
        if unknown:
            parser.error(f"no stage {sorted(unknown)[0]!r}; there are {', '.join(stage.name for stage in stages)}")
        print(f"{'stage':24} {'events':>7} {'tried':>6} {'Equal':>6} {'seconds':>8}")
        for stage in stages:
            if asked.stage and stage.name not in asked.stage:
                continue
            swing = sweep(
                stage,
                FAULTS[asked.fault],
                Path(folder).resolve() / "points",
                choose=first_of_each_site if asked.sites else lambda events: events,
                jobs=asked.jobs,
            )
            bad = len({text.split(" ", 1)[0] for text in swing.failures})
            failed += bad
            print(
                f"{stage.name:24} {swing.events:7} {swing.tried:6} {swing.tried - bad:6} {swing.seconds:8.1f}",
                flush=True,
            )
            for text in swing.failures:
                print(f"    {text}", flush=True)
            tried += swing.tried
            swept += 1
    print(f"{tried - failed} of {tried} points of {swept} stages Equal")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
