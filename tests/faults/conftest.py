"""One undisturbed tiny run for every sweep of the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.stages import Swept, swept_stages, warm_up


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Swept]:
    """The tiny recipe's stages by name, before and after its undisturbed run."""
    warm_up()
    folder: Path = tmp_path_factory.mktemp("swept").resolve()
    return {stage.name: stage for stage in swept_stages(folder / "undisturbed")}
