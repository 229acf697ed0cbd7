"""`align check`: prints what was found out, and sample rows token by token with their loss mask."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from alignment.errors import DataError
from recipes.cli.display import make_display
from recipes.cli.show import make_console
from recipes.load import load_recipe
from recipes.masking import safe
from recipes.running.check import DataCheck, RecipeCheck, check

if TYPE_CHECKING:
    from alignment.text.tokenizer import Tokenizer

_MOST_TOKENS = 400  # of a sample row


def check_and_tell(name_or_file: str, overrides: Sequence[str], *, rows: int) -> None:
    """Check a recipe and print everything.

    Raises:
        DataError: something would stop the run; says how much.
    """
    recipe = load_recipe(name_or_file, overrides)
    console = make_console()
    display = make_display(Console(stderr=True, highlight=False), quiet=not console.is_terminal)
    folder = Path(tempfile.mkdtemp(prefix="align-check-"))
    try:
        found = check(recipe, folder, say=display.line)
    except BaseException:  # Ctrl-C too: nothing of a broken check is worth keeping
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for section in found.sections:
        _section(console, section)
        if found.tokenizer is not None and section.error is None:
            for line in sample_rows(section, found.tokenizer, rows, markers=console.color_system is None):
                console.print(line, soft_wrap=True)
    _whole(console, found)
    if any(section.bad for section in found.sections):
        console.print(Text(f"all rows set aside stand in {folder}"), soft_wrap=True)
    else:
        shutil.rmtree(folder)
    if found.problems:
        console.print(Text(f"\n{len(found.problems)} problem(s) would stop the run or cut its data:", "bold red"))
        for problem in found.problems:
            console.print(Text(f"  {safe(problem)}"), soft_wrap=True)
        raise DataError(f"the check found {len(found.problems)} problem(s), listed above")
    console.print(Text("\nnothing stands against the run", "bold green"))


def sample_rows(section: DataCheck, tokenizer: Tokenizer, count: int, *, markers: bool) -> Iterator[Text]:
    """The first rows of a section, token by token; trained tokens green, or `*` before them without colour."""
    from alignment.records import Preference
    from alignment.text.chat import answer_ids, render_dialogue, render_prompt

    for record in section.train[:count]:
        yield Text(f"  {safe(str(record.source))}", "dim")
        if section.kind == "documents":
            ids = [tokenizer.bos_id, *tokenizer.encode(record.text), tokenizer.eos_id]
            yield _tokens(ids, [True] * len(ids), tokenizer, markers)
        elif section.kind == "dialogues":
            rendered = render_dialogue(record, tokenizer)
            yield _tokens(rendered.token_ids, rendered.trained, tokenizer, markers)
        elif section.kind == "prompts":
            ids = render_prompt(record, tokenizer)
            yield _tokens(ids, [False] * len(ids), tokenizer, markers)
        else:
            prompt = render_prompt(record.prompt, tokenizer)
            line = Text.assemble(("    prompt:", "bold"))
            line.append_text(_tokens(prompt, [False] * len(prompt), tokenizer, markers))
            yield line
            answers = (
                (("chosen", record.chosen), ("rejected", record.rejected))
                if isinstance(record, Preference)
                else (("safe" if record.safe else "unsafe", record.answer),)
            )
            for label, answer in answers:
                ids = answer_ids(answer, tokenizer)
                # the score is read at the answer's last token
                scored = [False] * (len(ids) - 1) + [True]
                line = Text.assemble((f"    {label}:", "bold"))
                line.append_text(_tokens(ids, scored, tokenizer, markers))
                yield line


def _tokens(ids: Sequence[int], trained: Sequence[bool], tokenizer: Tokenizer, markers: bool) -> Text:
    line = Text("    ")
    for token, learned in list(zip(ids, trained, strict=True))[:_MOST_TOKENS]:
        piece = safe(tokenizer.piece(token)).replace("\n", "\\n")
        if markers:
            line.append(f"*{piece} " if learned else f"{piece} ")
        else:
            line.append(piece, "bold green" if learned else "dim")
            line.append("·", "dim blue")
    if len(ids) > _MOST_TOKENS:
        line.append(f" … {len(ids) - _MOST_TOKENS:,} more tokens", "dim")
    return line


def _section(console: Console, section: DataCheck) -> None:
    console.print(Text(f"\n{section.key} ({section.kind})", "bold"))

    def tell(text: str) -> None:
        console.print(Text(f"  {safe(text)}"), soft_wrap=True)

    if section.error is not None:
        console.print(Text(f"  {safe(section.error)}", "red"), soft_wrap=True)
    report = section.report
    if report is not None:
        for source in report.sources:
            place = f"{source.part}: {source.name} [{source.form or 'records'}]"
            tell(f"{place}: {source.read:,} rows read, {source.records:,} records")
            for title, counts in (
                ("set aside", source.quarantined),
                ("skipped", source.skipped),
                ("noted", source.notes),
            ):
                for reason, number in counts.items():
                    tell(f"  {title}: {number:,} × {reason}")
        tell(
            f"train {report.train:,}, held out {report.held_out:,} ({report.moved:,} moved from train by hash), "
            f"test {report.test:,}, kept apart for other stages {report.apart:,}"
        )
        tell(
            f"duplicates {report.duplicates:,} ({report.on_duplicate}); dropped because held out "
            f"{report.overlap + report.repeated:,}"
        )
        for reason, number in report.set_aside.items():
            tell(f"set aside: {number:,} × {reason}")
        for warning in report.warnings:
            console.print(Text(f"  warning: {safe(warning)}", "yellow"), soft_wrap=True)
    for row in section.bad:
        tell(f"  set aside {row}")
    prepared = section.prepared
    if prepared is not None and prepared.lengths:
        tell(f"tokens per record: {percentiles(prepared.lengths)}; {sum(prepared.lengths):,} in all")
        what = ", ".join(f"{name} {count:,}" for name, count in prepared.policy.items()) or "nothing to do"
        tell(f"over the context of {prepared.context:,}: {section.over:,} of {len(prepared.lengths):,} ({what})")
    all_pieces, byte_pieces, unknown = section.pieces
    if all_pieces:
        share = f"{byte_pieces / all_pieces:.2%} byte pieces, {unknown:,} unknown"
        tell(f"tokenizer: {share} of {all_pieces:,} pieces looked at")
    if prepared is not None and prepared.steps is not None:
        tell(f"steps: {prepared.steps:,}")


def _whole(console: Console, found: RecipeCheck) -> None:
    console.print()
    if found.tokenizer is not None:
        tokenizer = found.tokenizer
        text = (
            f"tokenizer: {tokenizer.vocab_size:,} pieces, SHA-256 {tokenizer.sha256[:12]}… ({found.tokenizer_origin})"
        )
        console.print(Text(safe(text)), soft_wrap=True)
    if found.parameters is not None:
        console.print(f"model: {found.parameters:,} parameters")
    for doubt in found.doubts:
        console.print(Text(f"warning: {safe(doubt)}", "yellow"), soft_wrap=True)
    colour = "green (or * without colour)"
    console.print(Text(f"sample rows: {colour} tokens carry loss (reward models: are scored); ▁ is a space", "dim"))


def percentiles(lengths: Sequence[int]) -> str:
    """Shortest, median, 95th and 99th percentile, longest (nearest rank)."""
    ordered = sorted(lengths)

    def at(share: float) -> int:
        return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]

    return f"min {ordered[0]:,}, median {at(0.5):,}, 95 % {at(0.95):,}, 99 % {at(0.99):,}, max {ordered[-1]:,}"
