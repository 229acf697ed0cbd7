"""Matplotlib's SVG made fit to stand inline in a page: own ids, no leaking style, two colour schemes.

A figure is drawn in sentinel colours; here they become CSS variables with the light scheme's value
behind them, so that one drawing follows the page's scheme.  Matplotlib's own `<style>` (which
would restyle the whole page), metadata and document type go.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

INK, FAINT, GRID, SURFACE = "#010203", "#010204", "#010205", "#010206"
NUM_COLOURS = 8
SERIES = tuple(f"#0203{number:02x}" for number in range(NUM_COLOURS))
_LIGHT = ("#2c67d3", "#c9640c", "#16835f", "#b5337f", "#6a4cc0", "#0c7f94", "#c23b35", "#75741a")
# The same values stand in page.css, where the dark scheme overrides them.
VARIABLES: dict[str, str] = {
    INK: "var(--ink, #1d2026)",
    FAINT: "var(--faint, #666c78)",
    GRID: "var(--line, #e2e0da)",
    SURFACE: "var(--card, #ffffff)",
    **{hue: f"var(--series-{number}, {_LIGHT[number]})" for number, hue in enumerate(SERIES)},
}
_SENTINEL = re.compile("|".join(VARIABLES))
_FONT = re.compile(r"font:\s*(?:[a-z]+\s+)*?([0-9.]+)px[^;]*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_SPACES = re.compile(r"\s*\n\s*")
# What a drawing may consist of; anything else would be a surprise from a new matplotlib.
_TAGS = frozenset({"svg", "g", "path", "use", "defs", "clipPath", "rect", "text", "tspan", "image"})
_DROPPED = frozenset({"metadata", "style", "title"})


def inline_svg(source: str, *, prefix: str, label: str) -> str:
    """The `<svg>` element to put into a page.

    Args:
        source: a whole SVG document from matplotlib, drawn in the sentinel colours.
        prefix: put before each id, unique on the page.
        label: read out instead of the drawing.
    """
    root = ElementTree.fromstring(source)
    _clean(root, prefix)
    used = _referenced(root)
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
    view = root.get("viewBox", "0 0 1 1")
    root.attrib.clear()
    root.attrib.update({"viewBox": view, "role": "img", "aria-label": label, "class": "drawing"})
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, prefix: str) -> None:
    element.tag = _local(element.tag)
    for name in list(element.attrib):
        value = element.attrib.pop(name)
        name = _local(name)
        if name == "id":
            value = prefix + value
        elif name == "href":
            value = f"#{prefix}{value.removeprefix('#')}"
        else:
            value = _REFERENCE.sub(lambda found: f"url(#{prefix}{found.group(1)})", value)
        if name == "style":
            value = _FONT.sub(lambda found: f"font-size: {float(found.group(1)):g}px", value)
            value = _SENTINEL.sub(lambda found: VARIABLES[found.group()], value)
        if name == "d":
            value = _SPACES.sub(" ", value).strip()
        element.set(name, value)
    for child in list(element):
        if _local(child.tag) in _DROPPED:
            element.remove(child)
        elif _local(child.tag) not in _TAGS:
            raise ValueError(f"matplotlib drew a <{_local(child.tag)}>, which inline_svg does not know")
        else:
            _clean(child, prefix)
    if element.tag not in ("text", "tspan"):
        element.text = None
    element.tail = None


def _referenced(root: ElementTree.Element) -> set[str]:
    used = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "href":
                used.add(value.removeprefix("#"))
            used.update(_REFERENCE.findall(value))
    return used


def _local(name: str) -> str:
    return name.rsplit("}", 1)[-1]
