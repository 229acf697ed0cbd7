"""R1, R3, R7: a stage that is killed, stopped or out of disk at a write event goes on to the very same result.

Here the first event of every place in the code is tried, for one stage of every kind; `make faults` tries
every event of every stage.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recipes.load import load_recipe
from recipes.plan import stages_of
from recipes.stages.table import STAGES
from tests.faults.events import Act, Event
from tests.faults.stages import Swept
from tests.faults.sweep import FAULTS, first_of_each_site, sweep
from tests.tiny_recipe import BRITTLE

# one stage of every kind
NAMES = list({stage.kind.name: stage.name for stage in stages_of(load_recipe("quickstart", BRITTLE))}.values())


def evenly(count: int, events: Sequence[Event]) -> list[Event]:
    """`count` events, evenly spread."""
    return [events[(2 * i + 1) * len(events) // (2 * count)] for i in range(min(count, len(events)))]


# trained by TRL's trainers: an interrupted one keeps nothing and begins anew (rl/trl_training.py)
BEGUN_ANEW = {"dpo", "grpo"}


def test_every_kind_of_stage_is_swept_but_those_that_begin_anew() -> None:
    assert {stage.kind.name for stage in stages_of(load_recipe("quickstart", BRITTLE))} == set(STAGES) - BEGUN_ANEW


class Careless(Swept):
    """A stage that writes its result in place and trusts whatever is there: what the sweep must catch."""

    def work(self, folder: Path) -> int:
        result = folder / "careless" / "result.json"
        result.parent.mkdir(exist_ok=True)
        if not result.exists():
            result.write_text('{"answer": 42}')
        return 0


def test_the_sweep_catches_a_stage_that_writes_in_place(tmp_path: Path) -> None:
    place = tmp_path.resolve()
    stage = Careless(name="careless", finished=place / "whole", earlier=(), compared=("careless",), arguments=())
    stage.work(stage.lay_out(place / "whole"))

    def tear(number: int) -> Act:
        """Die with the file opened and nothing written."""

        def act(event: Event, torn: Callable[[], None]) -> None:
            if event.number == number:
                result = place / "points" / f"careless-{number}" / "careless" / "result.json"
                if event.kind == "open":
                    result.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)

        return act

    swing = sweep(stage, dataclasses.replace(FAULTS["kill"], at=tear), place / "points")
    assert [event.split(" ")[1] for event in swing.failures] == ["open"]
    assert swing.tried == 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_kill_at_any_place_that_writes_ends_equal(name: str, swept: dict[str, Swept], tmp_path: Path) -> None:
    swing = sweep(swept[name], FAULTS["kill"], tmp_path.resolve(), choose=lambda events: first_of_each_site(events, 1))
    assert swing.tried >= 8
    assert not swing.failures, "\n".join(swing.failures)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_told_and_the_stage_goes_on_when_there_is_space(
    name: str, swept: dict[str, Swept], tmp_path: Path
) -> None:
    def some(events: Sequence[Event]) -> list[Event]:
        return evenly(3, [event for event in events if event.kind in FAULTS["disk"].kinds])

    swing = sweep(swept[name], FAULTS["disk"], tmp_path.resolve(), choose=some)
    assert swing.tried == 3
    assert not swing.failures, "\n".join(swing.failures)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["term", "int", "twice", "again"])
def test_a_signal_ends_the_stage_with_its_code_and_it_goes_on(
    name: str, fault: str, swept: dict[str, Swept], tmp_path: Path
) -> None:
    swing = sweep(swept[name], FAULTS[fault], tmp_path.resolve(), choose=lambda events: evenly(1, events))
    assert not swing.failures, "\n".join(swing.failures)
