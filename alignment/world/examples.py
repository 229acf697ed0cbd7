"""Examples of every kind that the world makes, as Markdown: `python -m alignment.world.examples [size] [seed]`.

`docs/world.md` holds this output for the size `minutes`; a test compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

from alignment.randomness import named_generator
from alignment.records import GRADES, Dialogue
from alignment.world.ask.answers import GOOD, answer, qualities
from alignment.world.judge.gold import Verdict
from alignment.world.report import held_out_agreement
from alignment.world.settings import SPLITS, WorldSettings, counts
from alignment.world.town.documents import KINDS
from alignment.world.town.entropy import world_bits
from alignment.world.world import Campaign, World

_CAMPAIGNS: tuple[Campaign, ...] = ("helpfulness", "safety")


def examples(settings: WorldSettings) -> str:
    """All examples, a heading a kind."""
    world = World(settings)
    return "\n".join(line for section in _SECTIONS for line in (*section(world), ""))


def _numbers(world: World) -> Iterator[str]:
    town, bits = world.town, world_bits(world.town)
    yield f"### Numbers of `{world.name}`"
    yield ""
    yield f"{len(town.people)} people, {len(town.shops)} shops. Facts: {bits.facts:,.0f} bits (attributes"
    yield f"{bits.people:,.0f}, names {bits.names:,.0f}, shops {bits.shops:,.0f}); a biography given the town:"
    yield f"{bits.biography:.1f} bits."
    yield ""
    yield "| split | documents | dialogues | preferences per campaign | prompts per campaign | constraints |"
    yield "|---|---|---|---|---|---|"
    for split in SPLITS:
        n = counts(world.settings, split)
        constraints = len(list(world.constraints(split)))
        yield f"| {split} | {n.documents:,} | {n.dialogues:,} | {n.preferences:,} | {n.prompts:,} | {constraints} |"


def _documents(world: World) -> Iterator[str]:
    yield "### Documents"
    yield ""
    shown: set[str] = set()
    for document in world.documents():
        kind = str(document.meta["kind"])
        if kind not in shown:
            shown.add(kind)
            yield f"- *{kind}*: {document.text}"
        if len(shown) == len(KINDS):
            return


def _dialogues(world: World) -> Iterator[str]:
    yield "### Prompts, and answers with their verdicts"
    yield ""
    yield "Every quality for the first prompt of each form, the two good ones for the rest."
    shown: set[str] = set()
    forms: set[str] = set()
    for kind in _CAMPAIGNS:
        for prompt in world.prompts(kind, "test"):
            task = str(prompt.meta["task"]) + (f" ({prompt.meta['category']})" if "category" in prompt.meta else "")
            if task not in shown:
                shown.add(task)
                form = str(prompt.meta["truth"]["form"])
                yield from _answers(world, prompt, task, every_quality=form not in forms)
                forms.add(form)


def _answers(world: World, prompt: Dialogue, task: str, *, every_quality: bool) -> Iterator[str]:
    truth = prompt.meta["truth"]
    yield ""
    yield f"**{task}** " + " / ".join(f"{turn.role}: {turn.content}" for turn in prompt.turns)
    yield ""
    parts = "correct | complete | concise | polite | offers | format | fluent"
    yield f"| quality | answer | helpfulness | safety | {parts} |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for quality in qualities(truth) if every_quality else GOOD:
        said = answer(truth, quality, world.town, named_generator(0, "examples", prompt.id, quality))
        yield f"| {quality} | {said} | {_row(world.judge().verdict(prompt, said))} |"


def _row(verdict: Verdict) -> str:
    return " | ".join(f"{value:.2f}" for value in (verdict.helpfulness, verdict.safety, *verdict.parts.values()))


def _demonstrations(world: World) -> Iterator[str]:
    yield "### Demonstrations"
    yield ""
    yield "| by | question | answer | what shows |"
    yield "|---|---|---|---|"
    for row in islice((d for d in world.dialogues() if not d.system and "constraint" not in d.meta), 12):
        question, said = row.turns[-2].content, row.turns[-1].content
        yield f"| {row.meta['by']} | {question} | {said} | {', '.join(row.meta['shows'])} |"


def _system(world: World) -> Iterator[str]:
    yield "### Constraints, and a demonstration under one"
    yield ""
    yield "; ".join(f"{c.instruction} (*{c.short}*)" for c in list(world.constraints())[::5])
    yield ""
    under = next(d for d in world.dialogues() if d.system)
    yield f"- system: {under.system} / " + " / ".join(f"{turn.role}: {turn.content}" for turn in under.turns)


def _preferences(world: World) -> Iterator[str]:
    yield "### Preferences"
    yield ""
    yield "| campaign | prompt | chosen | rejected | grade | safe | annotator |"
    yield "|---|---|---|---|---|---|---|"
    for kind in _CAMPAIGNS:
        for row in islice(world.preferences(kind), 4):
            safe = "" if row.chosen_safe is None else f"{row.chosen_safe} / {row.rejected_safe}".lower()
            cells = (
                kind,
                row.prompt.turns[-1].content,
                row.chosen,
                row.rejected,
                row.grade,
                safe,
                row.meta["annotator"],
            )
            yield "| " + " | ".join(map(str, cells)) + " |"


def _agreement(world: World) -> Iterator[str]:
    yield "### Agreement of the annotators on held-out pairs"
    yield ""
    heads = " | ".join(f"{grade} (n)" for grade in GRADES)
    yield f"| campaign | pairs | between two annotators | Gwet's AC1 | with the judge | with the judge: {heads} |"
    yield "|---|---|---|---|---|" + "---|" * len(GRADES)
    for kind in _CAMPAIGNS:
        found = held_out_agreement(world, kind, 400)
        cells = " | ".join(f"{share:.2f} ({number})" for number, share in found.by_grade.values())
        figures = f"{found.comparisons} | {found.between:.2f} | {found.ac1:.2f} | {found.with_judge:.2f}"
        yield f"| {kind} | {figures} | {cells} |"


_SECTIONS = (_numbers, _documents, _demonstrations, _dialogues, _system, _preferences, _agreement)


def main(arguments: list[str]) -> None:
    """Print the examples of a size and a seed."""
    size, seed = (*arguments, *("minutes", "0")[len(arguments) :])[:2]
    sys.stdout.write(examples(WorldSettings.model_validate({"size": size, "seed": int(seed)})))


if __name__ == "__main__":
    main(sys.argv[1:])
