"""The examples in docs/world.md are the program's own output."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.world.examples import examples
from alignment.world.settings import WorldSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "world.md"


@pytest.mark.slow
def test_the_examples_in_the_documentation_are_true() -> None:
    assert examples(WorldSettings()).strip() in PAGE.read_text(encoding="utf-8")
