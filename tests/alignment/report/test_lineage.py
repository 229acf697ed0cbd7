"""The lineage graph: no arrow runs behind a box, and what arrows of one stage share is drawn once."""

from __future__ import annotations

import re

import pytest

from alignment.errors import UsageError
from alignment.report.lineage import Box, lay_out

VERSIONS = tuple(f"rlhf-v{n}" for n in range(1, 6))
REWARDS = ("reward-helpfulness", "reward-safety")
RUN = (
    ("tokenizer", "pretrain"),
    ("pretrain", "sft"),
    *(("sft", reward) for reward in REWARDS),
    *zip(("sft", *VERSIONS), VERSIONS, strict=False),
    *((reward, version) for version in VERSIONS for reward in REWARDS),
    ("rlhf-v5", "gatt"),
)
_NUMBER = re.compile(r"[-0-9.]+")


def points(path: str, steps: int = 40) -> list[tuple[float, float]]:
    """Points along an arrow's piece: a straight one or a cubic."""
    numbers = [float(number) for number in _NUMBER.findall(path)]
    if "C" not in path:
        x, y, to = numbers
        ends = ((x, y), (to, y) if "H" in path else (x, to))
        return [tuple(a + (b - a) * i / steps for a, b in zip(*ends, strict=True)) for i in range(steps + 1)]  # type: ignore[misc]
    p = [complex(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    found = []
    for i in range(steps + 1):
        t = i / steps
        at = (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3]
        found.append((at.real, at.imag))
    return found


def lies_in(box: Box, point: tuple[float, float]) -> bool:
    x, y = point
    return box.x + 0.5 < x < box.x + box.width - 0.5 and box.y + 0.5 < y < box.y + box.height - 0.5


@pytest.mark.parametrize("lineage", [RUN, RUN[:6], (("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("a", "d"))])
def test_no_arrow_runs_behind_a_box(lineage: tuple[tuple[str, str], ...]) -> None:
    graph = lay_out(lineage)
    behind = [
        (box.name, path) for path in graph.arrows for at in points(path) for box in graph.boxes if lies_in(box, at)
    ]
    assert behind == []


@pytest.mark.parametrize("lineage", [RUN, RUN[:6]])
def test_boxes_do_not_overlap_and_lie_in_the_drawing(lineage: tuple[tuple[str, str], ...]) -> None:
    graph = lay_out(lineage)
    for box in graph.boxes:
        corners = ((box.x, box.y), (box.x + box.width, box.y), (box.x, box.y + box.height))
        assert not [other.name for other in graph.boxes if other is not box and any(lies_in(other, c) for c in corners)]
        assert box.x + box.width <= graph.width
        assert box.y + box.height <= graph.height


def test_every_stage_has_one_box_and_every_child_one_arrow_head() -> None:
    graph = lay_out(RUN)
    names = {name for edge in RUN for name in edge}
    assert sorted(box.name for box in graph.boxes) == sorted(names)
    assert len(graph.heads) == len({child for _, child in RUN})


def test_arrows_of_one_stage_share_their_way() -> None:
    graph = lay_out(RUN)
    assert len(graph.arrows) == len(set(graph.arrows))
    assert len(graph.arrows) < 2 * len(RUN)


def test_a_circle_is_refused() -> None:
    with pytest.raises(UsageError, match="circle"):
        lay_out((("a", "b"), ("b", "a")))


def test_the_longest_name_of_the_papers_recipe_is_written_whole() -> None:
    graph = lay_out((("rlhf-v5-rejection", "reward-helpfulness-v5-ppo"),))
    assert "reward-helpfulness-v5-ppo" in {box.text for box in graph.boxes}
