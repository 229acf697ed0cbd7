"""The lineage graph's layout: stages in layers, parents before children, drawn without a library.

An arrow that passes layers runs in a lane of its own there, which takes room like a box: none runs behind one.
Arrows of one parent share their lane (Sugiyama, Tagawa & Toda 1981: layers, dummy places, order by the parents).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignment.errors import UsageError

_WIDEST = 860  # what fits beside the navigation; deeper graphs grow downwards instead
_BOX_HEIGHT, _GAP, _STEP = 34, 18, 46
_LANE = 6.0  # room of an arrow that passes a layer
_LETTER, _PADDING, _MOST_LETTERS = 7.4, 26, 26  # reward-helpfulness-v5-ppo is written whole

Place = tuple[str, int]  # whose, in which layer: a stage's own box, or in a later layer its lane


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
    """Boxes, the paths of the arrows between them and of their heads, and the drawing's size."""

    boxes: tuple[Box, ...]
    arrows: tuple[str, ...]
    heads: tuple[str, ...]
    width: float
    height: float


def lay_out(lineage: Sequence[tuple[str, str]]) -> Graph:
    """Put each stage one layer after its last parent; from left to right if that fits, else downwards.

    Raises:
        UsageError: the lineage has a circle.
    """
    edges = list(dict.fromkeys(lineage))
    depth = _depths(edges)
    layers = _layers(edges, depth)
    spots = _place(layers, depth, across=True)
    across = max((box.x + box.width for box in spots.values()), default=0) <= _WIDEST
    if not across:
        spots = _place(layers, depth, across=False)
    arrows = tuple(path for parent, child in edges for path in _arrow(parent, child, depth, spots, across))
    return Graph(
        boxes=tuple(box for (name, layer), box in spots.items() if depth[name] == layer),
        arrows=tuple(dict.fromkeys(arrows)),  # what arrows of one parent share is drawn once
        heads=tuple(_head(spots[child, depth[child]], across) for child in dict.fromkeys(child for _, child in edges)),
        width=max((box.x + box.width for box in spots.values()), default=0) + 2,
        height=max((box.y + box.height for box in spots.values()), default=0) + 2,
    )


def _depths(edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Stage -> its layer, in the order in which they are named."""
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
        depth |= {name: max((depth[parent] + 1 for parent in parents[name]), default=0) for name in ready}
        waiting = [name for name in waiting if name not in depth]
    return {name: depth[name] for name in names}


def _layers(edges: Sequence[tuple[str, str]], depth: Mapping[str, int]) -> list[list[Place]]:
    """Boxes and lanes layer by layer, each where its parents stand in the layer above."""
    layers: list[list[Place]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name, layer in depth.items():
        layers[layer].append((name, layer))
    for name, layer in depth.items():
        last = max((depth[child] for parent, child in edges if parent == name), default=layer)
        for passed in range(layer + 1, last):
            layers[passed].append((name, passed))
    for number in range(1, len(layers)):
        above = {name: place for place, (name, _) in enumerate(layers[number - 1])}

        def middle(place: Place, above: dict[str, int] = above, number: int = number) -> float:
            name = place[0]
            if depth[name] < number:
                return float(above[name])  # a lane goes straight on
            places = [above[parent] for parent, child in edges if child == name and parent in above]
            return sum(places) / len(places) if places else 0.0

        by_middle = {place: middle(place) for place in layers[number]}
        layers[number] = [
            place
            for at in sorted(set(by_middle.values()))
            for place in _lanes_inside([place for place in layers[number] if by_middle[place] == at], depth)
        ]
    return layers


def _lanes_inside(places: Sequence[Place], depth: Mapping[str, int]) -> list[Place]:
    """Of places that stand under the same parents the lanes in the middle: what they lead to mostly stands there."""
    boxes = [place for place in places if depth[place[0]] == place[1]]
    lanes = [place for place in places if depth[place[0]] != place[1]]
    half = (len(boxes) + 1) // 2
    return [*boxes[:half], *lanes, *boxes[half:]]


def _place(layers: Sequence[Sequence[Place]], depth: Mapping[str, int], *, across: bool) -> dict[Place, Box]:
    texts = {name: _shortened(name) for name in depth}
    lengths = {name: len(text) * _LETTER + _PADDING for name, text in texts.items()}

    def breadth(place: Place) -> float:
        if depth[place[0]] != place[1]:
            return _LANE
        return _BOX_HEIGHT if across else lengths[place[0]]

    extents = [sum(breadth(place) + _GAP for place in layer) - _GAP for layer in layers]
    spots: dict[Place, Box] = {}
    along = 1.0
    for number, (layer, extent) in enumerate(zip(layers, extents, strict=True)):
        offset = (max(extents) - extent) / 2 + 1
        own = [name for name, at in layer if depth[name] == number]
        thickness = max(lengths[name] for name in own) if across else _BOX_HEIGHT
        for place in layer:
            size = breadth(place)
            x, y, width, height = (
                (along, offset, thickness, size) if across else (offset, along, size, float(_BOX_HEIGHT))
            )
            spots[place] = Box(name=place[0], text=texts[place[0]], x=x, y=y, width=width, height=height)
            offset += size + _GAP
        along += thickness + _STEP * (1 if across else 0.75)
    return spots


def _arrow(parent: str, child: str, depth: Mapping[str, int], spots: Mapping[Place, Box], across: bool) -> list[str]:
    """The pieces of one arrow: from layer to layer, and straight on where it passes one."""
    paths = []
    for layer in range(depth[parent], depth[child]):
        start = spots[parent, layer]
        last = layer + 1 == depth[child]
        end = spots[child if last else parent, layer + 1]
        if layer > depth[parent]:
            paths.append(_through(start, across))
        paths.append(_between(start, end, across, short=7 if last else 0))
    return paths


def _through(lane: Box, across: bool) -> str:
    if across:
        y = lane.y + lane.height / 2
        return f"M{lane.x:.1f} {y:.1f}H{lane.x + lane.width:.1f}"
    x = lane.x + lane.width / 2
    return f"M{x:.1f} {lane.y:.1f}V{lane.y + lane.height:.1f}"


def _between(start: Box, end: Box, across: bool, *, short: float) -> str:
    if across:
        x1, y1 = start.x + start.width, start.y + start.height / 2
        x2, y2 = end.x - short, end.y + end.height / 2
        bend = (x2 - x1) / 2
        return f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    x1, y1 = start.x + start.width / 2, start.y + start.height
    x2, y2 = end.x + end.width / 2, end.y - short
    bend = (y2 - y1) / 2
    return f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"


def _head(child: Box, across: bool) -> str:
    """A small triangle whose tip touches the box."""
    if across:
        x, y = child.x - 1, child.y + child.height / 2
        return f"M{x - 7:.1f} {y - 4:.1f}L{x - 7:.1f} {y + 4:.1f}L{x:.1f} {y:.1f}Z"
    x, y = child.x + child.width / 2, child.y - 1
    return f"M{x - 4:.1f} {y - 7:.1f}L{x + 4:.1f} {y - 7:.1f}L{x:.1f} {y:.1f}Z"


def _shortened(name: str) -> str:
    return name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1] + "…"
