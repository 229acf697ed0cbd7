"""Reads a page back with the standard library's parser: its elements, its text, its figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"meta", "path", "rect", "use"})  # in HTML, or written `<…/>` in our SVG
_UNSEEN = frozenset({"style", "svg"})


@dataclass
class Element:
    """An element with the text in it, descendants' text included."""

    tag: str
    attributes: dict[str, str]
    inside: tuple[str, ...]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())


class Page(HTMLParser):
    """All elements of a page in order, and whatever a page of ours must not hold."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.surprises: list[str] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        self.surprises += [f"<{element.tag}> is never closed" for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attrs}) < len(attrs):
            self.surprises.append(f"<{tag}> has an attribute twice: {attrs}")
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag=tag, attributes=attributes, inside=tuple(parent.tag for parent in self._open))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if not self._open or self._open[-1].tag != tag:
            self.surprises.append(f"</{tag}> closes nothing")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        self.surprises.append(f"comment {data!r}")

    def handle_pi(self, data: str) -> None:
        self.surprises.append(f"processing instruction {data!r}")

    def unknown_decl(self, data: str) -> None:
        self.surprises.append(f"declaration {data!r}")

    def named(self, *tags: str) -> list[Element]:
        """The elements of these tags, in order."""
        return [element for element in self.elements if element.tag in tags]

    def figures_shown(self) -> list[str]:
        """The text of every table cell, fact, card and part: where a page writes its figures."""
        cells = [e for e in self.named("td", "dd") if not _UNSEEN & set(e.inside)]
        return [" ".join(cell.text.split()) for cell in cells if not cell.classes & {"empty"}]
