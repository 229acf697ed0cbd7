"""The stages that the sweeps go through: every stage of the tiny recipe, before and after its undisturbed run.

A kind of stage that is added to `recipes/stages/table.py` joins by appearing in the quickstart; one that the
quickstart has not joins by a line in `BRITTLE` (tests/tiny_recipe.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipes.load import load_recipe
from recipes.plan import stages_of
from tests.faults.children import in_child
from tests.tiny_recipe import BRITTLE


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One stage to disturb.

    Attributes:
        name: as in the plan.
        finished: the undisturbed run, with this and later stages.
        earlier: folders of the stages before it.
        compared: folders, relative to the run, that must come out Equal.
        arguments: of `align`, without `--out`.
    """

    name: str
    finished: Path
    earlier: tuple[str, ...]
    compared: tuple[str, ...]
    arguments: tuple[str, ...]

    def lay_out(self, folder: Path) -> Path:
        """Make a run in which everything before this stage is finished."""
        folder.mkdir(parents=True)
        if not self.earlier:
            return folder  # the first stage starts from nothing at all
        for name in ("run.json", "recipe.yaml"):
            shutil.copy2(self.finished / name, folder / name)
        for name in self.earlier:
            # linked, not copied: what is finished is only read
            shutil.copytree(self.finished / name, folder / name, copy_function=os.link)
        return folder

    def work(self, folder: Path) -> int:
        """Bring the run in `folder` to this stage's end, as the command line does; returns its exit code."""
        from recipes.cli import main

        try:
            main(["run", *self.arguments, "--out", str(folder), "--until", self.name])
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else 1
        raise AssertionError("align returned without an exit code")


def swept_stages(folder: Path, overrides: Sequence[str] = BRITTLE) -> list[Swept]:
    """Run the tiny recipe undisturbed into `folder` and return its stages."""
    arguments = ("quickstart", *overrides)
    plan = stages_of(load_recipe("quickstart", overrides))
    last = Swept(name=plan[-1].name, finished=folder, earlier=(), compared=(), arguments=arguments)
    ended = in_child(lambda: last.work(folder), timeout=300)
    if ended.code:
        raise RuntimeError(f"the undisturbed run failed with {ended.code}:\n{ended.output}")
    stages = []
    for place, stage in enumerate(plan):
        page = ("report",) if stage.kind.name == "report" else ()
        stages.append(
            Swept(
                name=stage.name,
                finished=folder,
                earlier=tuple(before.folder for before in plan[:place]),
                compared=(stage.folder, *page),
                arguments=arguments,
            )
        )
    return stages


def warm_up() -> None:
    """Import what every child needs, once, in the parent: forked children then begin at once."""
    import importlib

    from accelerate.utils import extract_model_from_parallel
    from torch import nn
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    for name in (
        "transformers.models.llama.modeling_llama",
        "alignment.evaluate.versions",
        "alignment.train.pretrain",
        "alignment.world",
        "gatt.train",
        "recipes.running.page",
        "recipes.stages.table",
        "recipes.cli.run",
        "recipes.load",
        "reward.train",
        "rl.ppo",
        "rl.rejection",
        "matplotlib.backends.backend_svg",
    ):
        importlib.import_module(name)
    get_checkpoint_conversion_mapping("llama")
    extract_model_from_parallel(nn.Linear(1, 1))  # imports deepspeed where it is installed, as every save does
