"""One undisturbed tiny run for every sweep of the session, and one with canaries around it for the security bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.stages import Swept, swept_stages, warm_up
from tests.faults.watched import Watched, watched_place
from tests.tiny_recipe import BRITTLE


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Swept]:
    """The tiny recipe's stages by name, before and after its undisturbed run."""
    warm_up()
    folder: Path = tmp_path_factory.mktemp("swept").resolve()
    return {stage.name: stage for stage in swept_stages(folder / "undisturbed")}


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The tiny recipe run in a process of its own, canaries around it; then planned, listed and reported again."""
    place = watched_place(tmp_path_factory.mktemp("watched"))
    recipe = ("quickstart", *BRITTLE, "description=run by ${MY_SECRET_KEY}")
    place.align("run", *recipe, "--out", "run")
    place.align("plan", *recipe)
    place.align("stages", "run")
    place.align("report", "run")
    return place
