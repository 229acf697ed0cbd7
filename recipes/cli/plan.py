"""The verb `plan`: a recipe's stages, what they take of memory and computing, and whether that fits.  No torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recipes.cli.show import make_console
from recipes.load import load_recipe
from recipes.masking import safe
from recipes.reading.schema import Recipe
from recipes.stages.kind import Makes, PlannedStage

if TYPE_CHECKING:
    from alignment.train.memory import ModelShape
    from recipes.memory import Machine, Taken


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the plan is held against, as it was asked.

    Attributes:
        devices: how many.
        memory: GB (10^9 bytes) of each; None: nothing is held against it, and the machine is taken for a CPU.
        tflops: of each at its peak; None: no hours.
        mfu: the share of the peak that is reached.
        as_json: print the plan as JSON.
    """

    devices: int = 1
    memory: float | None = None
    tflops: float | None = None
    mfu: float = 0.4
    as_json: bool = False

    def machine(self, recipe: Recipe) -> Machine:
        """The machine, with the recipe's precision; `auto` is bf16 on a GPU and fp32 on a CPU."""
        from recipes.memory import GB, Machine

        precision = recipe.compute.precision
        return Machine(
            devices=self.devices,
            memory=None if self.memory is None else int(self.memory * GB),
            flops=None if self.tflops is None else self.tflops * 1e12,
            mfu=self.mfu,
            precision=("fp32" if self.memory is None else "bf16") if precision == "auto" else precision,
            fused_attention=self.memory is not None,
            checkpointing=recipe.model.gradient_checkpointing,
        )


def show_plan(name_or_file: str, overrides: Sequence[str], asked: Asked) -> None:
    """Print a recipe's stages, what they take and the settings that matter, then say which of its files are missing.

    Raises:
        RecipeError: files that the recipe names are not there; all of them.
    """
    from recipes.memory import taken_by
    from recipes.plan import stages_of
    from recipes.reading.written import settings_lines
    from recipes.running.inputs import check_inputs

    recipe = load_recipe(name_or_file, overrides)
    plan = stages_of(recipe)
    if asked.as_json:
        print(json.dumps(_as_json(recipe, plan, asked), indent=1, ensure_ascii=False))
        check_inputs(recipe, plan)
        return
    console = make_console()
    console.print(_title(recipe), soft_wrap=True)
    if recipe.model.path is None:
        vocab_size, known = _vocab_size(recipe)
        parameters = recipe.model.num_parameters(vocab_size)
        width, layers, heads, kv_heads, hidden = recipe.model.shape()
        said = f"width {width}, {layers} layers, {heads} heads, {kv_heads} key/value heads, feed-forward {hidden}"
        sizes = f"vocabulary {vocab_size:,}{known}, context {recipe.model.context_length:,}"
        console.print(f"model: {parameters:,} parameters ({said}, {sizes})", soft_wrap=True)
    else:
        console.print(Text(safe(f"model: {recipe.model.path}")), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("#", "stage", "kind", "starts from", "reads", "size"):
        table.add_column(column, overflow="fold")
    for stage in plan:
        others = [name for name in stage.parents if name != stage.starts_from]
        start = stage.starts_from or (recipe.model.path or "fresh weights" if stage.makes(Makes.POLICY) else "")
        reads = "all" if len(others) == len(plan) - 1 else ", ".join(others)
        table.add_row(
            str(stage.number),
            stage.name,
            stage.kind.name,
            Text(safe(start)),
            reads,
            str(stage.kind.size(stage.inputs)),
        )
    console.print(table)
    if (core := _shape(recipe)) is not None:
        _print_taken(console, taken_by(plan, core, asked.machine(recipe)), asked.machine(recipe))
    console.print("\nsettings that differ from the defaults:")
    for line in settings_lines(recipe):
        console.print(Text(f"  {safe(line)}"), soft_wrap=True)
    check_inputs(recipe, plan)


def _shape(recipe: Recipe) -> ModelShape | None:
    """The core's shape; None where only the hub knows it."""
    from alignment.train.memory import ModelShape

    if recipe.model.path is None:
        return ModelShape.of(recipe.model, _vocab_size(recipe)[0])
    return ModelShape.read(Path(recipe.model.path)) or ModelShape.named(recipe.model.path)


def _print_taken(console: Console, taken: Sequence[Taken], machine: Machine) -> None:
    """The table of bytes, work and hours, and the verdict."""
    from recipes.memory import GB, verdict

    if not taken:
        return
    where = f"{machine.precision}, {'a GPU' if machine.fused_attention else 'a CPU'}"
    console.print(
        f"\nmemory in GB on each device that holds everything whole ({where}); the process itself not counted:"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["stage", "roles", "weights", "gradients", "optimizer", "activations", "an answer", "at once", "most"]
    columns += [f"sharded over {machine.devices}"] if machine.devices > 1 else []
    columns += ["PFLOP"] + (["device-hours"] if machine.flops is not None else [])
    for column in columns:
        table.add_column(column, overflow="fold", justify="left" if column in ("stage", "roles") else "right")
    for names, own in _alike(taken):
        total = own.total
        kinds = (total.weights, total.gradients, total.optimizer, total.activations)
        cells = [f"{number / GB:,.3g}" for number in kinds]
        cells += [f"{total.cache / GB:,.3g}", str(own.answers_at_once(machine))] if total.cache else ["", ""]
        cells.append(f"{own.whole / GB:,.3g}")
        cells += [f"{own.sharded(machine.devices) / GB:,.3g}"] if machine.devices > 1 else []
        cells.append(f"{own.flops / 1e15:,.3g}" if own.flops is not None else f"{own.step_flops / 1e15:,.2g} a step")
        if machine.flops is not None:
            hours = own.hours(machine)
            cells.append("–" if hours is None else f"{hours:,.1f}")
        table.add_row(names, ", ".join(own.roles), *cells)
    console.print(table)
    if said := verdict(taken, machine):
        console.print(said, soft_wrap=True)


def _alike(taken: Sequence[Taken]) -> list[tuple[str, Taken]]:
    """Stages that take the same (a version's after another's) in one row, with the names of all."""
    groups: dict[str, list[Taken]] = {}
    for own in taken:
        groups.setdefault(str(dataclasses.replace(own, stage="")), []).append(own)
    return [(", ".join(own.stage for own in group), group[0]) for group in groups.values()]


def _as_json(recipe: Recipe, plan: Sequence[PlannedStage], asked: Asked) -> dict[str, Any]:
    """The plan as plain values."""
    from recipes.memory import taken_by, verdict

    shape, machine = _shape(recipe), asked.machine(recipe)
    taken = taken_by(plan, shape, machine) if shape is not None else []
    return {
        "recipe": recipe.name,
        "parameters": shape.parameters if shape is not None else None,
        "stages": [
            {"name": own.name, "kind": own.kind.name, "parents": own.parents, "size": str(own.kind.size(own.inputs))}
            for own in plan
        ],
        "machine": {"devices": machine.devices, "memory": machine.memory, "precision": machine.precision},
        "memory": [own.as_json(machine) for own in taken],
        "verdict": verdict(taken, machine),
    }


def _title(recipe: Recipe) -> Text:
    text = Text(safe(recipe.name), "bold")
    if recipe.description:
        text.append(f": {safe(recipe.description.strip())}", "not bold")
    return text


def _vocab_size(recipe: Recipe) -> tuple[int, str]:
    """The vocabulary, and a word where the tokenizer's file is not there to ask."""
    if recipe.tokenizer.path is None:
        return recipe.tokenizer.vocab_size, ""
    if not Path(recipe.tokenizer.path).is_file():
        return recipe.tokenizer.vocab_size, " assumed: the tokenizer's file is not here"
    from alignment.text.tokenizer import Tokenizer

    return Tokenizer.load(recipe.tokenizer.path).vocab_size, ""
