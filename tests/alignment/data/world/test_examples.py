"""The examples in docs/world.md are the program's own output."""

from __future__ import annotations

from pathlib import Path

from alignment.data.world.examples import examples
from alignment.data.world.settings import WorldSettings

PAGE = Path(__file__).resolve().parents[4] / "docs" / "world.md"


def test_the_examples_in_the_documentation_are_true() -> None:
    assert examples(WorldSettings()).strip() in PAGE.read_text(encoding="utf-8")
