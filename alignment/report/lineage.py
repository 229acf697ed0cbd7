"""The lineage graph's layout: stages in layers, parents before children, drawn without a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment.errors import UsageError

_WIDEST = 860  # what fits beside the navigation; deeper graphs grow downwards instead
_BOX_HEIGHT, _GAP, _STEP = 34, 18, 46
_LETTER, _PADDING, _MOST_LETTERS = 7.4, 26, 24


@dataclass(frozen=True, kw_only=True)
class Box:
    """One stage: its name, what is written, and where (upper left corner and size)."""

    name: str
    text: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Boxes, the paths of the arrows between them, and the drawing's size."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    width: float
    height: float


def lay_out(lineage: Sequence[tuple[str, str]]) -> Graph:
    """Put each stage one layer after its last parent; from left to right if that fits, else downwards.

    Raises:
        UsageError: the lineage has a circle.
    """
    edges = list(dict.fromkeys(lineage))
    layers = _layers(edges)
    boxes = _place(layers, across=True)
    across = max((box.x + box.width for box in boxes.values()), default=0) <= _WIDEST
    if not across:
        boxes = _place(layers, across=False)
    arrows = tuple(_arrow(boxes[parent], boxes[child], across) for parent, child in edges)
    return Graph(
        boxes=tuple(boxes.values()),
        arrows=arrows,
        width=max((box.x + box.width for box in boxes.values()), default=0) + 2,
        height=max((box.y + box.height for box in boxes.values()), default=0) + 2,
    )


def _layers(edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    parents: dict[str, list[str]] = {name: [] for name in names}
    for parent, child in edges:
        parents[child].append(parent)
    depth: dict[str, int] = {}
    waiting = names
    while waiting:
        ready = [name for name in waiting if all(parent in depth for parent in parents[name])]
        if not ready:
            raise UsageError(f"the lineage has a circle among {', '.join(waiting)}; a stage comes after its parents")
        found = {name: max((depth[parent] + 1 for parent in parents[name]), default=0) for name in ready}
        depth.update(found)
        waiting = [name for name in waiting if name not in depth]
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        layers[depth[name]].append(name)
    for number in range(1, len(layers)):
        # Children stand where their parents stand, which keeps most arrows from crossing.
        above = {name: place for place, name in enumerate(layers[number - 1])}

        def middle(name: str, above: dict[str, int] = above) -> float:
            places = [above[parent] for parent in parents[name] if parent in above]
            return sum(places) / len(places) if places else 0.0

        layers[number].sort(key=middle)
    return layers


def _place(layers: Sequence[Sequence[str]], *, across: bool) -> dict[str, Box]:
    texts = {name: _shortened(name) for layer in layers for name in layer}
    widths = {name: len(text) * _LETTER + _PADDING for name, text in texts.items()}
    if across:
        extents = [float(len(layer) * (_BOX_HEIGHT + _GAP) - _GAP) for layer in layers]
    else:
        extents = [sum(widths[name] + _GAP for name in layer) - _GAP for layer in layers]
    boxes: dict[str, Box] = {}
    along = 1.0
    for layer, extent in zip(layers, extents, strict=True):
        offset = (max(extents) - extent) / 2 + 1
        thickness = max(widths[name] for name in layer) if across else _BOX_HEIGHT
        for name in layer:
            width = thickness if across else widths[name]
            x, y = (along, offset) if across else (offset, along)
            boxes[name] = Box(name=name, text=texts[name], x=x, y=y, width=width, height=_BOX_HEIGHT)
            offset += (_BOX_HEIGHT if across else width) + _GAP
        along += thickness + _STEP * (1 if across else 0.75)
    return boxes


def _arrow(parent: Box, child: Box, across: bool) -> str:
    if across:
        x1, y1 = parent.x + parent.width, parent.y + parent.height / 2
        x2, y2 = child.x - 3, child.y + child.height / 2
        bend = (x2 - x1) / 2
        return f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    x1, y1 = parent.x + parent.width / 2, parent.y + parent.height
    x2, y2 = child.x + child.width / 2, child.y - 3
    bend = (y2 - y1) / 2
    return f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"


def _shortened(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1] + "…"
