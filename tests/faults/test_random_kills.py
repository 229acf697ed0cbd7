"""R2: a run that is killed at random moments, with its whole process group, ends Equal to one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.random_kills import finish, finished_stages, kill_at_random
from tests.tiny_recipe import BRITTLE, BRITTLE_REFRESHED


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [BRITTLE, BRITTLE_REFRESHED], ids=["plain", "refreshed"])
def test_three_kills_change_nothing_and_repeat_no_finished_stage(overrides: tuple[str, ...], tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    seconds = finish("quickstart", overrides, undisturbed, tmp_path / "log")
    work = sum(record.seconds for record in finished_stages(undisturbed).values())
    outcome = kill_at_random(
        "quickstart",
        overrides,
        kills=3,
        seed=0,
        place=tmp_path,
        undisturbed=undisturbed,
        duration=work,
        startup=seconds - work,
        spread=1.5,
    )
    assert outcome.differences == []
    assert outcome.repeated == []
    assert outcome.kills >= 2  # on a machine that became faster meanwhile, the run may end before the third
