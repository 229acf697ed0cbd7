"""Runs a study's members one after the other; `study_page.py` puts their variants side by side.  No torch.

Stages that members have in common are run once (`shared.py`).  A member that was interrupted goes on; the same command
finishes the study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from alignment.report.page import write_report
from alignment.train.session import StopFlag
from recipes.running.job import StageTable
from recipes.running.runner import RunSummary, run
from recipes.running.study_page import study_report
from recipes.running.telling import Display, Quiet
from recipes.study import Member, Study


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What a study came to: each member's run, and the page."""

    members: Mapping[str, RunSummary]
    page: Path


def run_study(
    study: Study,
    *,
    redo: bool = False,
    stages: StageTable | None = None,
    display: Display | None = None,
    stop: StopFlag | None = None,
    before_work: Callable[[Member], None] = lambda member: None,
    allow_code: bool = False,
) -> StudySummary:
    """Bring every member to its end and write the study's page.

    Args: and errors as in `recipes.running.runner.run`.
    """
    display = display or Quiet()
    folders = [member.folder for member in study.members]
    done: dict[str, RunSummary] = {}
    for number, member in enumerate(study.members, start=1):
        display.line(f"study {study.name}, member {number} of {len(folders)}: {member.name}")
        done[member.name] = run(
            member.recipe,
            out=member.folder,
            redo=redo,
            until=study.settings.until,
            stages=stages,
            display=display,
            stop=stop,
            before_work=lambda member=member: before_work(member),  # type: ignore[misc]
            siblings=[folder for folder in folders if folder != member.folder],
            allow_code=allow_code,
        )
    return StudySummary(members=done, page=write_report(study_report(study), study.folder / "report"))
