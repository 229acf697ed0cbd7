"""R7 for real: a run on a file system that is full goes on once there is space, and ends Equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.disk import run_on_full_disk, why_not
from tests.faults.same import differences
from tests.faults.stages import Swept

REASON = why_not()


@pytest.mark.skipif(REASON is not None, reason=REASON or "")
@pytest.mark.parametrize("free_kib", [64, 700])
def test_a_disk_that_is_full_is_told_and_loses_nothing(free_kib: int, swept: dict[str, Swept], tmp_path: Path) -> None:
    copy = tmp_path / "run"
    said = run_on_full_disk(free_kib, "pretrain", copy)
    full, _, _ = said.partition("--- space again")
    assert "no space left" in full.lower()
    assert "left " not in full.replace("no space left", "")
    for name in swept["pretrain"].compared:
        assert differences(swept["pretrain"].finished / name, copy / name) == []
