"""Whatever stands in prompts, answers, names and notes, the page stays ours (bar S5)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import alignment.report
from alignment.report.as_html import CONTENT_SECURITY_POLICY, to_html
from alignment.report.as_markdown import to_markdown
from alignment.report.blocks import (
    Code,
    Exchange,
    Facts,
    MaskedText,
    Paragraph,
    Report,
    Section,
    SideBySide,
    TurnByTurn,
)
from alignment.report.series import Figure, Series
from alignment.report.table import Table
from alignment.report.visible import visible
from tests.alignment.report.allow_list import NASTY, faults_of
from tests.alignment.report.page_reader import Page


def _everywhere(text: str, number: int) -> Section:
    """A section with the text in every place that takes one, but figures."""
    turns = tuple(Exchange(role=role, text=text) for role in ("system", "user", "assistant", text))
    return Section(
        id=f"{number}{text}",
        title=text,
        summary=text,
        status=text,
        blocks=(
            Table(title=text, columns=(text, "n"), rows=((text, 1), ("row", text)), note=text),
            Table(title=text, columns=(text,), rows=()),
            Facts(title=text, items=((text, text), (text, 0.5))),
            SideBySide(
                title=text,
                prompt=turns,
                answers=((text, text, {text: 0.25}), ("sft", "", {})),
                remarks=(("sft", text),),
            ),
            TurnByTurn(title=text, instruction=text, turns=((text, ((text, text, text), (text, "a", ""))),)),
            MaskedText(title=text, tokens=((text, True), (text, False))),
            Code(title=text, text=text),
            Code(title=text, text=text + "\n" * 40),
            Paragraph(text=text),
        ),
        details=(Table(title=text, columns=(text, "n"), rows=((text, 1),), note=text), Paragraph(text=text)),
    )


def _figures() -> Section:
    kinds = {"line": ((0.0, 1.0), (0.0, 1.0)), "histogram": ((1.0, 2.0, 2.5), ())}
    few = NASTY[:14] + NASTY[24:33]
    drawn = [
        Figure(
            title=few[at],
            kind=kind,
            series=tuple(Series(name=text, x=x, y=y) for text in few),
            x_label=few[at],
            y_label=few[-1 - at],
            note=few[at],
        )
        for at, (kind, (x, y)) in enumerate(kinds.items())
    ]
    for kind in ("bar", "points", "heatmap"):
        names = few[:8] if kind == "heatmap" else few
        series = tuple(Series(name=name, x=(), y=tuple(float(n) for n in range(len(few)))) for name in names[:8])
        drawn.append(Figure(title=few[1], kind=kind, series=series, categories=few, x_label=few[2], y_label=few[3]))
    return Section(id="figures", title="figures", blocks=tuple(drawn))


@pytest.fixture(scope="module")
def nasty() -> str:
    """A page with every nasty text in every place."""
    sections = tuple(_everywhere(text, number) for number, text in enumerate(NASTY))
    lineage = tuple((f"{number}{text}", "end") for number, text in enumerate(NASTY))
    everything = " ".join(NASTY)
    return to_html(
        Report(
            title=everything,
            subtitle=everything,
            created=everything,
            sections=(*sections, _figures()),
            lineage=lineage,
            facts=tuple((text, text) for text in NASTY),
            headline=tuple((text, text) for text in NASTY),
            top=tuple(Paragraph(text=text) for text in NASTY),
            judges=tuple((text, text) for text in NASTY),
            headline_by=everything,
        )
    )


@pytest.fixture(scope="module")
def ordinary(sample_report: Report) -> str:
    return to_html(sample_report)


def test_the_corpus_makes_no_element_attribute_or_address_that_is_not_on_the_list(nasty: str) -> None:
    assert faults_of(nasty) == []


def test_an_ordinary_report_keeps_to_the_same_list(ordinary: str) -> None:
    assert faults_of(ordinary) == []


@pytest.mark.parametrize("text", ["<script>1</script>", "<p onclick=x>", "<a href='https://a.b'>x</a>", "<!-- x -->"])
def test_the_list_would_notice_what_it_is_for(ordinary: str, text: str) -> None:
    assert faults_of(ordinary.replace("</main>", f"{text}</main>")) != []


def test_a_text_changes_nothing_of_the_page_but_its_words() -> None:
    def skeleton(text: str) -> list[tuple[str, tuple[str, ...]]]:
        page = Page(to_html(Report(title=text, subtitle=text, sections=(_everywhere(text, 0),), facts=((text, text),))))
        return [(element.tag, tuple(element.attributes)) for element in page.elements]

    for text in NASTY:
        if text.strip():
            assert skeleton(text) == skeleton("plain"), text


def test_the_texts_themselves_can_be_read_on_the_page(nasty: str) -> None:
    cells = {element.text for element in Page(nasty).named("td")}
    assert {visible(text) for text in NASTY} <= cells


def test_the_policy_forbids_scripts_and_everything_from_outside(nasty: str) -> None:
    metas = [element.attributes for element in Page(nasty).named("meta")]
    policies = [meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [CONTENT_SECURITY_POLICY]
    rules = dict(rule.split(None, 1) for rule in CONTENT_SECURITY_POLICY.split("; "))
    assert rules == {"default-src": "'none'", "style-src": "'unsafe-inline'", "img-src": "data:"}
    assert nasty.index("Content-Security-Policy") < nasty.index("<title>")  # before anything from data


def test_the_style_sheet_brings_in_nothing_from_outside(nasty: str) -> None:
    (style,) = Page(nasty).named("style")
    assert not re.search(r"@import|url\(|https?:|expression", style.text)


def test_no_template_takes_data_as_markup() -> None:
    folder = Path(alignment.report.__path__[0])
    for template in folder.glob("*.html"):
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", template.read_text(encoding="utf-8")), template.name
    marked = [p.name for p in sorted(folder.glob("*.py")) if re.search(r"\bMarkup\(", p.read_text(encoding="utf-8"))]
    assert marked == ["as_html.py"]  # the drawing that figure.render_svg made, and nothing else


def test_the_markdown_has_no_live_markup_outside_of_fences() -> None:
    sections = tuple(_everywhere(text, number) for number, text in enumerate(NASTY))
    fence, outside = "", []
    for line in to_markdown(Report(title=NASTY[0], sections=sections)).splitlines():
        opened = re.match(r"`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif opened:
            fence = opened.group()
        else:
            outside.append(line)
    assert fence == ""
    assert [line for line in outside if re.search(r"<[a-zA-Z!/?]", line)] == []
    assert [line for line in outside if re.search(r"(?<!\\)\]\(", line)] == []
