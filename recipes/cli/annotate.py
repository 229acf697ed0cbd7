"""`align annotate`: people compare the answers that a run waits for, on a page here or elsewhere.  No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from alignment.errors import UsageError
from recipes.masking import safe
from recipes.running.folder import RECIPE, require_run, stage_folders
from recipes.running.record import StageRecord, read_record

ANYBODY = "annotator"  # who annotates where nobody says a name


def annotate_run(
    run: Path, *, name: str | None, port: int, stage: str | None, export: Path | None, taken: Path | None
) -> None:
    """Serve the page, or write the items out, or take verdicts in; of a run's stage that waits for people.

    Raises:
        UsageError: there is no run or no such stage, it is finished, or two things are asked for at once.
        DataError: the file of verdicts is wrong; nothing was taken.
    """
    if export is not None and taken is not None:
        raise UsageError("--export writes items out and --import takes verdicts in; give one of the two")
    require_run(run)
    folder, called = find_stage(run, stage)
    if export is not None:
        from alignment.annotate.people.elsewhere import export_items

        count = export_items(folder, export)
        _say(f"{export}: {count:,} items of {called}; fill in preferred, grade and labels, then")
        _say(f"align annotate {_word(run)} --import {_word(export)} --name NAME")
        return
    if (why := closed(run, folder, called)) is not None:
        raise UsageError(why)
    if taken is not None:
        from alignment.annotate.people.elsewhere import import_verdicts

        brought = import_verdicts(folder, taken, name)
        new = ", ".join(f"{count:,} of {who}" for who, count in brought.taken.items()) or "none"
        _say(f"{taken}: new verdicts: {new}; {brought.known:,} were known, {brought.open:,} lines are open")
    else:
        _serve(run, folder, called, name or ANYBODY, port)
    for line in _standing(run, folder):
        _say(line)


def find_stage(run: Path, name: str | None) -> tuple[Path, str]:
    """The folder and name of the stage whose items people judge: the named one, else the newest that is not finished.

    Raises:
        UsageError: there is none; names those that there are.
    """
    from alignment.annotate.people.items import ITEMS_FILE

    found: dict[str, tuple[Path, StageRecord]] = {}
    for folder in stage_folders(run):
        record = read_record(folder)
        if record is not None and (folder / ITEMS_FILE).is_file():
            found[record.name] = folder, record
    if not found:
        raise UsageError(
            f"no stage of {run} has items for people; one whose annotator is `people` writes them, when `align run` "
            f"comes to it"
        )
    if name is None:
        waiting = [stage for stage, (_, record) in found.items() if record.status != "finished"]
        name = (waiting or list(found))[-1]
    if name not in found:
        raise UsageError(f"--stage is {name!r}, which has no items for people; {' or '.join(found)} is right")
    return found[name][0], name


def closed(run: Path, folder: Path, called: str) -> str | None:
    """Why a stage takes no verdicts any more, None while it does."""
    record = read_record(folder) if folder.is_dir() else None
    if record is None:
        return f"{called} of {run} was put aside; run it again, then ask anew"
    if record.status == "finished":
        return f"{called} of {run} is finished, and its preferences rest on the verdicts that it has; no more are taken"
    return None


def _serve(run: Path, folder: Path, called: str, name: str, port: int) -> None:
    from alignment.annotate.people.desk import Desk
    from alignment.annotate.people.server import PageServer

    with Desk(folder, name, lambda: closed(run, folder, called)) as desk, PageServer(desk, port) as server:
        far = desk.progress()
        _say(f"{called} of {run}: {far['items']:,} items, {far['waiting']:,} without a verdict")
        _say(f"{desk.name} has judged {desk.began_with:,}, {far['for_me']:,} wait: open {server.url}")
        _say("every verdict is saved at once; Ctrl-C ends")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _standing(run: Path, folder: Path) -> Iterator[str]:
    """Who judged what, how well they agree, how many items wait, and what comes next."""
    from alignment.annotate.people.agreement import people_agree
    from alignment.annotate.people.elsewhere import who_judged

    items, verdicts = who_judged(folder)
    people = ", ".join(f"{name} {len(own):,}" for name, own in verdicts.items() if own) or "none yet"
    yield f"verdicts by annotator: {people}"
    agree = people_agree(verdicts)
    if agree.same is not None:
        yield (
            f"on {agree.items:,} items that several judged they prefer the same in {agree.same:.0%} (Gwet's AC1 "
            f"{agree.ac1:.2f})"
        )
    waiting = len(items) - len({item for own in verdicts.values() for item in own})
    yield f"{waiting:,} of {len(items):,} items have no verdict" if waiting else "every item has a verdict; go on with"
    if not waiting:
        yield f"align run {_word(run / RECIPE)} --out {_word(run)}"


def _word(path: Path) -> str:
    return shlex.quote(str(path))


def _say(text: str) -> None:
    print(safe(text), flush=True)
