"""S6: sequences that steer a terminal come out of no command: answers, rows, names, errors, progress and logs.

What a command may write to a terminal: printable characters, line breaks, tabs; where it draws colours and a moving
line, the sequences of the drawing library and nothing that came from data.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alignment.generate.sampler import Sample, SampleRequest
from recipes.cli import main
from recipes.cli.display import Lines, Moving
from recipes.masking import escape_controls
from tests.faults.watched import Watched
from tests.tiny_recipe import BRITTLE

SEQUENCES = {
    "clears the screen": "\x1b[2J\x1b[H",
    "sets the title": "\x1b]0;pwned\x07",
    "writes the clipboard": "\x1b]52;c;cHduZWQ=\x07",
    "links elsewhere": "\x1b]8;;https://example.com\x1b\\press\x1b]8;;\x1b\\",
    "asks for an answer": "\x1b[6n\x1bP+q544e\x1b\\",
    "one-byte introducers": "\x9b31m \x9d0;pwned\x9c \x90",
    "writes over what stood there": "refused\rallowed \x08\x08\x08",
    "bell, shift, escape alone": "\x07\x0e\x0f\x1b",
    "turns words around": "\u202egnp.exe\u202c \u2066x\u2069",
    "hidden letters": "\u200b\u2060\ufeff\U000e0041",
    "lines of another kind": "a\u2028b\u2029c\x85d\x0be\x0cf",
}
EVIL = " ".join(SEQUENCES.values())
# as a recipe can hold it: JSON writes what YAML reads, but for signs beyond U+FFFF
QUOTED = json.dumps("".join(sign for sign in EVIL if ord(sign) < 0x10000))
ESCAPED = escape_controls("\x1b]52;c;cHduZWQ=\x07")


def hostile_signs(text: str) -> list[str]:
    """Characters that would steer a terminal."""
    return sorted({sign for sign in text if sign not in "\n\t" and escape_controls(sign) != sign})


@pytest.mark.parametrize("kind", SEQUENCES)
def test_every_sequence_of_the_gallery_would_be_noticed(kind: str) -> None:
    assert hostile_signs(SEQUENCES[kind])


def shown(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """All that a command writes."""
    with pytest.raises(SystemExit):
        main(arguments)
    told = capfd.readouterr()
    return told.out + told.err


class Says:
    """A sampler whose answer is given."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = tuple(ids)

    def sample(self, requests: Sequence[SampleRequest], *_: Any, **__: Any) -> list[list[Sample]]:
        return [[Sample(token_ids=self.ids, log_probs=(0.0,) * len(self.ids), finish_reason="stop")] for _ in requests]


def test_a_models_answer_is_shown_escaped_in_a_chat(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "alignment.generate.draw.make_sampler", lambda policy: Says(policy.tokenizer.encode(f"well {EVIL} done"))
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"Hello {EVIL}\n".encode(errors="replace"))))
    told = shown(capfd, "chat", str(watched.run))
    assert hostile_signs(told) == []
    assert ESCAPED in told
    assert "done" in told


@pytest.fixture
def hostile_recipe(tmp_path: Path) -> list[str]:
    """A recipe on rows that hold sequences, in a file whose name holds some; and its notes too."""
    path = tmp_path / "rows \x1b]52;c;cHduZWQ=\x07 \u202e.jsonl"
    rows: list[Any] = [{"instruction": f"say {number} {EVIL}", "output": f"no {EVIL}"} for number in range(60)]
    rows += [{"instruction": 3, EVIL: EVIL}]
    path.write_text("".join(json.dumps(row, ensure_ascii=number % 2 > 0) + "\n" for number, row in enumerate(rows)))
    source = json.dumps(str(path))  # a JSON text is a YAML one
    return ["quickstart", *BRITTLE, f"sft.data.train=[{{path: {source}}}]", f"description={QUOTED}"]


@pytest.mark.parametrize("verb", [["check"], ["plan"]])
def test_rows_names_and_notes_are_shown_escaped_by_what_looks_at_them(
    verb: list[str], hostile_recipe: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    told = shown(capfd, *verb, *hostile_recipe)
    assert ESCAPED in told
    assert hostile_signs(told) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", EVIL],
        ["run", "quickstart", f"sft.{EVIL}=1"],
        ["run", "quickstart", f"name={QUOTED}"],
        ["run", "quickstart", f"sft.too_long={QUOTED}"],
        ["run", "quickstart", "--until", EVIL],
        ["run", "quickstart", f"--{EVIL}"],
        ["run", "quickstart", f"sft.data.train=[{{path: {QUOTED}}}]"],
        ["stages", EVIL],
        ["report", EVIL],
        ["chat", EVIL],
        ["world", "--size", EVIL, "--out", "x"],
        [EVIL],
    ],
    ids=lambda arguments: " ".join(arguments).replace(EVIL, "EVIL").replace(QUOTED, "EVIL")[:60],
)
def test_errors_show_what_was_asked_escaped(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = shown(capfd, *arguments)
    assert "error" in told
    assert hostile_signs(told) == []


def test_a_failed_stage_tells_and_logs_its_error_escaped(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"bad row: {EVIL}")

    monkeypatch.setattr("alignment.text.tokenizer.train_tokenizer", fails)
    monkeypatch.setattr("recipes.stages.table.train_tokenizer", fails, raising=False)
    run = str(tmp_path / "run")
    told = shown(capfd, "run", "quickstart", *BRITTLE, "--until", "tokenizer", "--out", run)
    told += shown(capfd, "stages", run)
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    for text in (told, log):
        assert "bad row: \\x1b[2J" in text
        assert hostile_signs(text) == []


def test_a_runs_records_are_shown_escaped(watched: Watched, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(watched.run, run, ignore=shutil.ignore_patterns("checkpoint*", "report", "tokenizer"))
    for number, change in enumerate(({"status": "failed", "error": EVIL}, {"result": {"headline": EVIL}})):
        path = sorted(run.glob("*/stage.json"))[number + 2]
        record = json.loads(path.read_text()) | change
        del record["sha256"]  # as release 0.1.0 wrote it; whoever forges it can compute the right one too
        path.write_text(json.dumps(record))
    told = shown(capfd, "stages", str(run))
    assert told.count("\\x1b[2J") == 2
    assert hostile_signs(told) == []


@pytest.mark.parametrize("make", [Lines, Moving])
def test_progress_shows_notes_metrics_and_names_escaped(
    make: Callable[[Console], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.cli.display.LINE_EVERY", 0.0)
    file = io.StringIO()
    display = make(Console(file=file, force_terminal=make is Moving, width=400, color_system=None, highlight=False))
    progress = display.stage_begins(f"sft {EVIL}", 1, 1, resumed=False)
    progress.begin(4, EVIL)
    progress.step(2, {EVIL: 1.0})
    progress.note(EVIL)
    display.line(EVIL)
    display.stage_ends("sft", "failed", 1.0, EVIL)
    display.close()
    # cursor hidden and shown, line cleared, up: the moving line's own
    told = re.sub(r"\x1b\[(\?25[lh]|2K|1?A)|\r", "", file.getvalue())
    assert ESCAPED in told
    assert hostile_signs(told) == []
