"""Hidden characters are written out, in every twin; everything else stays as it is."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignment.report.as_html import to_html
from alignment.report.as_markdown import to_markdown
from alignment.report.blocks import Exchange, Report, Section, SideBySide
from alignment.report.visible import visible
from tests.alignment.report.page_reader import Page

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("sign", BIDI)
def test_a_bidirectional_control_is_written_as_its_code_point(sign: str) -> None:
    assert visible(f"a{sign}b") == f"a⟨U+{ord(sign):04X}⟩b"


def test_an_answer_that_turns_its_words_around_shows_it_in_the_page_and_the_markdown() -> None:
    answer = "the door code is \u202e4321\u202c"
    block = SideBySide(title="t", prompt=(Exchange(role="user", text="?"),), answers=(("sft", answer, {}),))
    report = Report(title="r", sections=(Section(id="s", title="s", blocks=(block,)),))
    shown = "the door code is ⟨U+202E⟩4321⟨U+202C⟩"
    assert [p.text for p in Page(to_html(report)).named("p") if p.classes == {"answer"}] == [shown]
    assert shown in to_markdown(report).splitlines()


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_hidden_is_left_and_writing_out_twice_changes_nothing(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not set(shown) & set(BIDI)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    shown.encode("utf-8")


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs"))))
def test_letters_marks_numbers_and_signs_stay(text: str) -> None:
    assert visible(text) == text


def test_joiners_stay_because_scripts_and_emoji_need_them() -> None:
    assert visible("👩\u200d🌾 می\u200cخواهم") == "👩\u200d🌾 می\u200cخواهم"


def test_windows_line_ends_become_plain_ones_and_a_lone_return_is_written_out() -> None:
    assert visible("a\r\nb\rc\td") == "a\nb⟨U+000D⟩c\td"
