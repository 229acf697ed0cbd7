"""A process for `test_signals.py`: a run whose SFT stage loops until it is asked to stop.

Arguments: recipe file, run folder, `polite` (looks at the stop flag), `slow` (half a second after it is set) or `deaf`
(does not).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from recipes.cli.errors import run_command
from recipes.load import load_recipe
from recipes.running.runner import run
from recipes.stages.context import StageContext
from recipes.stages.kind import StageInputs
from recipes.stages.table import STAGES


def stage(inputs: StageInputs, context: StageContext) -> dict[str, Any]:
    """One file; SFT works on until it is stopped."""
    folder = context.session.folder
    if context.stage.name == "sft" and not (folder / "step").exists():
        step = 0
        while True:
            step += 1
            (folder / "step").write_text(str(step))
            print(f"step {step}", flush=True)
            time.sleep(0.02)
            if sys.argv[3] == "slow" and context.session.stop.requested:
                time.sleep(0.5)
            if sys.argv[3] != "deaf":
                context.session.stop.check(step)
    (folder / "made").write_text("done")
    return {}


if __name__ == "__main__":
    sys.exit(
        run_command(
            lambda: run(load_recipe(sys.argv[1]), out=Path(sys.argv[2]), stages=dict.fromkeys(STAGES, stage)) and 0
        )
    )
