"""Right answers by kind of task, of a finished run's model: `python -m alignment.evaluate.accuracy RUN [--stage sft]`.

Greedy answers to prompts of the embedded world, its validation part unless said otherwise (the test part is the
report's).  An answer is right if it speaks of what was asked and every claim in it is true; whether it says all that
was asked is the figure beside it.  A kind of task that stays under `LEARNT` belongs into the corpus only
(`alignment/world/ask/tasks.py`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from alignment.errors import AlignmentError, UsageError
from alignment.generate.draw import answers_of, draw_samples, fitting_prompts
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy, load_policy
from alignment.records import Answer, Dialogue
from alignment.report.intervals import bootstrap_mean
from alignment.strict_yaml import read_yaml
from alignment.train.compute import resolve_compute
from alignment.train.settings import ComputeSettings
from alignment.world import World, WorldSettings
from alignment.world.judge.gold import GoldJudge
from alignment.world.settings import SPLITS

LEARNT = 0.3  # a kind of task below it is not learnt
COUNT = 600
# who is asked about -> column
GROUPS = {"asked": "people asked about in training", "unseen": "people of no training question", "": "nobody in person"}
_GREEDY = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=64)
_PEOPLE = "every kind about people"


@dataclass(frozen=True, kw_only=True)
class Marked:
    """One answer, marked.

    Attributes:
        task: the kind of task.
        group: one of `GROUPS`.
        right: every claim is true, and there is one about what was asked.
        complete: share of what was asked that is said.
    """

    task: str
    group: str
    right: bool
    complete: float


def world_of(run: Path) -> World:
    """The world of a run.

    Raises:
        UsageError: the folder is no run, its recipe has no world, or one of another release.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        raise UsageError(f"{run} is no run: it holds no recipe.yaml")
    _, document = read_yaml(path)
    section = document.value.get("world") if isinstance(document.value, dict) else None
    if section is None:
        raise UsageError(f"{path} has no world: only answers about the embedded world can be marked")
    try:
        return World(WorldSettings.model_validate(section))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("world", *first["loc"])))
        raise UsageError(f"{path}:{document.line_of(('world', *first['loc']))}: {key}: {first['msg']}") from error


def policy_of(run: Path, stage: str) -> Policy:
    """The model that a stage of a run left.

    Raises:
        UsageError: no stage of that name left one; says which did.
    """
    found = {path.parent.name.partition("-")[2]: path for path in sorted(run.glob("[0-9][0-9]-*/checkpoint"))}
    if stage not in found:
        raise UsageError(f"{run} has no model of a stage {stage}; there are {', '.join(found) or 'none'}")
    return load_policy(found[stage])


def mark(answers: Sequence[Answer], judge: GoldJudge) -> list[Marked]:
    """Mark answers to the world's prompts by what they claim."""
    marked = []
    for answer in answers:
        meta, parts = answer.dialogue.meta, judge.verdict(answer.dialogue, answer.text).parts
        group = {"": "", "train": "asked"}.get(str(meta.get("person_group", "")), "unseen")
        right = parts["correct"] == 1.0
        marked.append(Marked(task=str(meta["task"]), group=group, right=right, complete=parts["complete"]))
    return marked


def accuracy_table(marked: Sequence[Marked]) -> str:
    """A Markdown table: shares of right answers with 95 % bootstrap intervals over prompts, by kind and by group."""
    lines = [f"| kind of task | {' | '.join(GROUPS.values())} | said of what was asked |", "|---" * 5 + "|"]
    tasks = sorted({each.task for each in marked}, key=lambda task: (-sum(each.task == task for each in marked), task))
    people = [each for each in marked if each.group]
    for name, rows in ((_PEOPLE, people), *((task, [m for m in marked if m.task == task]) for task in tasks)):
        if rows:
            cells = [_share([m.right for m in rows if m.group == group]) for group in GROUPS]
            lines.append(f"| {' | '.join([name, *cells, _share([m.complete for m in rows])])} |")
    return "\n".join(lines)


def not_learnt(marked: Sequence[Marked]) -> Iterator[str]:
    """The kinds of task whose share of right answers is below `LEARNT`."""
    for task in sorted({each.task for each in marked}):
        own = [each.right for each in marked if each.task == task]
        if sum(own) < LEARNT * len(own):
            yield f"{task}: {sum(own)} of {len(own)} right"


def answer_greedily(policy: Policy, prompts: Sequence[Dialogue]) -> list[Answer]:
    """The most likely answer to every prompt that leaves room for one."""
    resolve_compute(ComputeSettings()).place(policy.model)
    fitting, _ = fitting_prompts(prompts, policy, _GREEDY)
    names = ("accuracy",)
    samples = draw_samples(policy, fitting, num_samples=1, sampling=_GREEDY, seed=0, names=names, journal_path=None)
    return [options[0] for options in answers_of(fitting, samples, policy)]


def _share(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = bootstrap_mean([float(value) for value in values], seed=0)
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}] ({len(values)})"


def main(arguments: Sequence[str]) -> int:
    """Print the table of a run's model, and the kinds that it has not learnt."""
    parser = argparse.ArgumentParser(prog="python -m alignment.evaluate.accuracy", description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--stage", default="sft", help="whose model answers")
    parser.add_argument("--split", default="validation", choices=SPLITS, help="whose prompts are asked")
    parser.add_argument("--count", default=COUNT, type=int, help="prompts at most")
    asked = parser.parse_args(arguments)
    try:
        world, policy = world_of(asked.run), policy_of(asked.run, asked.stage)
    except AlignmentError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    prompts = list(world.prompts("helpfulness", asked.split, count=asked.count))
    marked = mark(answer_greedily(policy, prompts), world.judge())
    print(f"{asked.run}, {asked.stage}: greedy answers to {len(marked):,} {asked.split} prompts; right answers\n")
    print(accuracy_table(marked))
    print()
    print("\n".join(f"not learnt (below {LEARNT:g}): {line}" for line in not_learnt(marked)) or "every kind is learnt")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
