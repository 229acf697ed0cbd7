"""What a run shows: lines where there is no terminal, nothing when quiet, no control characters ever."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from recipes.cli.display import Lines, Moving, make_display
from recipes.running.telling import Pace, Quiet, duration, figure


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """A console that writes into a string."""
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=100, highlight=False, color_system=None), file


def test_the_display_fits_where_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_display(console(terminal=True)[0], quiet=False), Moving)
    assert isinstance(make_display(console(terminal=False)[0], quiet=False), Lines)
    assert isinstance(make_display(console(terminal=True)[0], quiet=True), Quiet)
    monkeypatch.setenv("CI", "true")
    assert isinstance(make_display(console(terminal=True)[0], quiet=False), Lines)


def test_lines_tell_begin_notes_and_end_without_a_control_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.cli.display.LINE_EVERY", 0.0)
    out, file = console(terminal=False)
    display = Lines(out)
    progress = display.stage_begins("sft", 3, 8, resumed=True)
    progress.begin(4, "steps")
    progress.step(2, {"loss": 1.23456, "\x1b[31m": 1.0})
    progress.note("a note \x1b]0;title\x07")
    progress.end()
    display.stage_ends("sft", "finished", 61.0, "held_out_loss 1.2")
    text = file.getvalue()
    assert "[3/8] sft: goes on" in text
    assert "[3/8] sft: 2/4 steps  loss 1.235 \\x1b[31m 1" in text
    assert "[3/8] sft: a note \\x1b]0;title\\x07" in text
    assert "sft: finished after 1 min 01 s; held_out_loss 1.2" in text
    assert "\x1b" not in text


def test_a_resumed_stretch_tells_where_it_goes_on_once_and_never_step_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.cli.display.LINE_EVERY", 0.0)
    out, file = console(terminal=False)
    progress = Lines(out).stage_begins("sft", 3, 8, resumed=True)
    progress.note("goes on after step 1,204 of 2,147")  # as the training loop says it
    progress.begin(2147, "steps")
    progress.step(1204, {})
    progress.step(1205, {"loss": 1.0})
    assert "0/2,147" not in file.getvalue()
    assert file.getvalue().count("1,204") == 1
    assert "1,205/2,147 steps" in file.getvalue()


def test_lines_do_not_flood() -> None:
    out, file = console(terminal=False)
    progress = Lines(out).stage_begins("sft", 1, 1, resumed=False)
    progress.begin(1000, "steps")
    for done in range(1000):
        progress.step(done, {})
    assert file.getvalue().count("\n") == 1


def test_the_live_display_ends_clean_and_keeps_what_was_said() -> None:
    out, file = console(terminal=True)
    display = Moving(out)
    progress = display.stage_begins("sft", 1, 2, resumed=False)
    progress.begin(None, "rows")
    progress.step(5, {"loss": 0.5})
    progress.note("said")
    display.stage_ends("sft", "failed", 1.0, "why")
    display.close()
    display.close()
    text = file.getvalue()
    assert "said" in text
    assert "sft  1.0 s  why" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is given back


def test_a_resumed_stretchs_pace_counts_only_what_it_did_itself() -> None:
    now = [0.0]
    pace = Pace(100, "steps", clock=lambda: now[0])
    assert pace.seconds_left is None
    pace.step(50)  # where the checkpoint stood
    now[0] = 10.0
    pace.step(60)
    assert pace.seconds_left == pytest.approx(40.0)
    assert str(pace) == "60/100 steps, 40.0 s left"
    assert Pace(None, "rows").seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"), (7630, "2 h 07 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_figures_are_short() -> None:
    assert [figure(value) for value in (1234567, 0.123456, 1e-7, True, "a\x1b")] == [
        "1,234,567",
        "0.1235",
        "1e-07",
        "True",
        "a\\x1b",
    ]
