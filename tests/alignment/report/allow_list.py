"""Texts that would break out of a page, and the only elements and attributes that a page of ours may hold."""

from __future__ import annotations

import re

from tests.alignment.report.page_reader import Page

NASTY = (
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "'><svg onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</title></head><body onload=alert(1)>",
    "</p></section></main><iframe src='https://example.com'></iframe>",
    "javascript:alert(1)",
    '" onmouseover="alert(1)',
    "' style='background:url(https://example.com/x)'",
    "<a href=\"javascript:alert(1)\">press</a>",
    "<meta http-equiv=refresh content='0;url=https://example.com'>",
    "<base href='https://example.com/'>",
    "<link rel=stylesheet href=https://example.com/x.css>",
    "<!--", "--><b>bold</b>", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "<!DOCTYPE html>",
    "&lt;script&gt;&#60;script&#62;", "&amp;&nbsp;&", "{{ 7 * 7 }}{% raw %}", "${7*7} #{7*7}",
    "\u202ereversed\u202c \u2066isolate\u2069 \u200bhidden \ufeffmark \U000e0041tag",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f next \x85",
    "lone \ud800 surrogate \udfff", "\ufffe\uffff", "line\u2028separator\u2029",
    "$\\frac{1}{0}$ $unclosed", "`code` ```\nfence\n```` <b>", "| a | b |\n|---|---|", "[x](javascript:alert(1))",
    "Käse 田中さん 🦙 ﷽ ZA̡͊L͠GO", "../../etc/passwd", "%s%n{0}", "", " ", "\n\r\n\t", "x" * 3000,
)  # fmt: skip

_ATTRIBUTES = {
    "a": "href", "clippath": "id", "dd": "class", "details": "class open", "div": "aria-label class role tabindex",
    "dl": "class", "figure": "class", "g": "clip-path", "html": "lang", "li": "class", "main": "id",
    "meta": "charset content http-equiv name", "nav": "aria-label", "p": "class", "section": "class id",
    "path": "class clip-path d id style", "rect": "class height rx style width x y", "span": "class style",
    "svg": "aria-label class height role viewbox width", "table": "class", "td": "class colspan",
    "text": "class style transform x y", "th": "class scope", "ul": "class", "use": "href style x y",
}  # fmt: skip
_PLAIN = (
    "article body code defs dt figcaption footer h1 h2 h3 h4 head header ol pre small style summary tbody "
    "thead title tr"
)
ALLOWED = {tag: set(names.split()) for tag, names in _ATTRIBUTES.items()} | {tag: set() for tag in _PLAIN.split()}
_STYLE = re.compile(r"[a-z0-9#%.,():;' \-]*", re.ASCII | re.IGNORECASE)


def faults_of(html: str) -> list[str]:
    """What of a page is not on the list: elements, attributes, addresses, styles that bring something in."""
    page = Page(html)
    faults = list(page.surprises)
    for element in page.elements:
        if element.tag not in ALLOWED:
            faults.append(f"<{element.tag}>")
            continue
        for name, value in element.attributes.items():
            if name not in ALLOWED[element.tag]:
                faults.append(f"<{element.tag} {name}=…>")
            elif name == "href" and not re.fullmatch(r"#[A-Za-z0-9_-]+", value):
                faults.append(f"href {value!r}")
            elif name == "clip-path" and not re.fullmatch(r"url\(#[A-Za-z0-9_-]+\)", value):
                faults.append(f"clip-path {value!r}")
            elif name == "style" and (not _STYLE.fullmatch(value) or "url(" in value):
                faults.append(f"style {value!r}")
    return faults
