"""R15: the same recipe in two folders comes out Equal."""

from __future__ import annotations

from pathlib import Path

from tests.faults.children import in_child
from tests.faults.same import differences
from tests.faults.stages import Swept


def test_the_same_recipe_twice_is_equal(swept: dict[str, Swept], tmp_path: Path) -> None:
    last = list(swept.values())[-1]
    again = Swept(name=last.name, finished=last.finished, earlier=(), compared=(), arguments=last.arguments)
    ended = in_child(lambda: again.work(tmp_path / "again"), timeout=300)
    assert ended.code == 0, ended.output
    assert differences(last.finished, tmp_path / "again") == []
