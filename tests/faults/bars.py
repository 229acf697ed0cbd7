"""Shows the bars of reliability and security, one command each; `make faults` runs them all.

`python -m tests.faults.bars` prints the table and writes the figures into docs/reliability.md; `--quick` leaves
out the long ones; `--only R1 S3` picks some and keeps the other rows' last figures.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- bars: written by `make faults` -->", "<!-- end of bars -->"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: its number, the fault, what is held, and the arguments of `python -m` that show it."""

    id: str
    fault: str
    held: str
    command: str
    long: bool = False

    @property
    def arguments(self) -> list[str]:
        """What follows `python -m`; pytest's `-k` takes its words with spaces."""
        parts = self.command.split()
        return [
            part.replace("_or_", " or ") if before == "-k" else part
            for before, part in zip(["", *parts], parts, strict=False)
        ]


def read_bars() -> list[Bar]:
    """The literal table `bars.toml`."""
    with Path(__file__).with_name("bars.toml").open("rb") as file:
        return [Bar(**entry) for entry in tomllib.load(file)["bar"]]


def show(bar: Bar) -> tuple[bool, str]:
    """Run a bar's command.

    Returns:
        Whether it holds, and its figure: the last line that says one.
    """
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", *bar.arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        capture_output=True,
        text=True,
    )
    took = time.monotonic() - began
    if ended.returncode:
        print(ended.stdout[-3000:], ended.stderr[-1000:], file=sys.stderr)
    return ended.returncode == 0, f"{figure(ended.stdout)}, {took:.0f} s"


def figure(output: str) -> str:
    """The figure in a command's output: pytest's summary, or the last line.

    >>> figure("....\\n12 passed, 1 skipped in 3.20s")
    '12 passed, 1 skipped'
    """
    lines = [line.strip("= ") for line in output.splitlines() if line.strip()]
    if not lines:
        return "no output"
    summary = re.match(r"(.*\b(?:passed|failed|skipped|error)\b.*?) in [\d.:]+s?", lines[-1])
    return summary.group(1) if summary else lines[-1]


def table(bars: list[Bar], figures: dict[str, str]) -> str:
    """The bars as a Markdown table with their last figures."""
    lines = ["| bar | what goes wrong | what holds | shown by | last figure |", "|---|---|---|---|---|"]
    for bar in bars:
        command = f"python -m {bar.command}" if not bar.command.startswith("pytest") else bar.command
        lines.append(f"| {bar.id} | {bar.fault} | {bar.held} | `{command}` | {figures.get(bar.id, 'not yet shown')} |")
    return "\n".join(lines)


def last_figures(text: str) -> dict[str, str]:
    """The figures that the document holds already."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[-1] for row in rows if len(row) == 5}


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.bars", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these bars only")
    parser.add_argument("--no-write", action="store_true", help="leave docs/reliability.md as it is")
    asked = parser.parse_args()
    bars = read_bars()
    if unknown := set(asked.only or ()) - {bar.id for bar in bars}:
        parser.error(f"no bar {sorted(unknown)[0]!r}; there are {', '.join(bar.id for bar in bars)}")
    text = DOCUMENT.read_text(encoding="utf-8")
    figures, failed = last_figures(text), []
    today = datetime.date.today().isoformat()
    for bar in bars:
        if (asked.only and bar.id not in asked.only) or (asked.quick and bar.long):
            continue
        holds, found = show(bar)
        if not holds:
            failed.append(bar.id)
        figures[bar.id] = f"{'' if holds else 'DOES NOT HOLD: '}{found}, {today}".replace("|", "/")
        print(f"{bar.id:14} {'holds' if holds else 'FAILS':6} {found}", flush=True)
        if not asked.no_write:
            before, _, rest = text.partition(BEGIN)
            _, _, after = rest.partition(END)
            text = f"{before}{BEGIN}\n{table(bars, figures)}\n{END}{after}"
            DOCUMENT.write_text(text, encoding="utf-8")
    print("all hold" if not failed else f"do not hold: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
