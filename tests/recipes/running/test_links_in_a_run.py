"""No link that stands in a run's folder is followed: what it leads to is not the run's to write or to remove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignment.errors import CheckpointError, UsageError
from alignment.train.checkpoints import Checkpoints
from recipes.reading.schema import Recipe
from recipes.running.folder import append_log
from recipes.running.runner import run


@pytest.fixture
def begun(recipe: Recipe, stages: Any, tmp_path: Path) -> Path:
    """A run whose SFT has not begun."""
    run(recipe, out=tmp_path / "run", stages=stages, until="pretrain")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "name",
    ["02-pretrain/checkpoints", "02-pretrain/samples", "02-pretrain/metrics.jsonl", "02-pretrain/a/b", "log.txt"],
)
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_a_run_is_refused_and_its_target_stays_as_it_is(
    name: str, dangling: bool, begun: Path, recipe: Recipe, stages: Any, tmp_path: Path
) -> None:
    target = tmp_path / "outside"
    if not dangling:
        (target / "step-000007").mkdir(parents=True)
        (target / "step-000007" / "thesis").write_text("years of work")
    (begun / name).parent.mkdir(exist_ok=True)
    (begun / name).symlink_to(target)
    with pytest.raises(UsageError, match=rf"{Path(name).name} is a symbolic link; a run holds its files itself"):
        run(recipe, out=begun, stages=stages)
    assert target.exists() is not dangling
    assert dangling or (target / "step-000007" / "thesis").read_text() == "years of work"


def test_checkpoints_are_not_written_or_removed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "step-000009").mkdir(parents=True)
    (tmp_path / "checkpoints").symlink_to(tmp_path / "scratch")
    with pytest.raises(CheckpointError, match="checkpoints is a symbolic link"):
        Checkpoints(tmp_path / "checkpoints", fingerprint="f", keep=1, say=print)
    assert (tmp_path / "scratch" / "step-000009").is_dir()


def test_the_log_is_not_written_through_a_link_that_came_while_the_run_worked(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(OSError):
        append_log(tmp_path, "what went wrong")
    assert not (tmp_path / "notes.txt").exists()
