"""The processes of one launch (`torchrun`): all of them train, the first keeps the run's books.  No torch.

The first process holds the lock, writes the records, and works alone on what is not trained in parallel; the others
wait for it and then read what it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

_LONGEST = timedelta(days=7)  # that others wait while the first works alone


@dataclass(frozen=True)
class Company:
    """This process among those of its launch.

    Attributes:
        rank: from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def keeps_books(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait until all processes have come here; at once with one alone."""
        if self.size > 1:
            import torch
            from accelerate import PartialState

            # without `cpu` it takes a launch on a machine without a GPU for one process
            PartialState(cpu=not torch.cuda.is_available(), timeout=_LONGEST).wait_for_everyone()


def company(environ: Mapping[str, str] = os.environ) -> Company:
    """The company of this process, as its launcher says; a process that nobody launched is alone."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR")
    if not all(environ.get(name) for name in names):
        return Company()
    return Company(rank=int(environ["RANK"]), size=int(environ["WORLD_SIZE"]))


def launch_note(kind: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """What to say where several processes seem to have been meant and this one is alone.

    On a CPU `accelerate launch --num_processes 2` starts one process; its variables tell that it was asked for more.

    Args:
        kind: `compute.parallel`'s.
    """
    if company(environ).size > 1:
        return None
    told = "start several by torchrun --nproc-per-node N --no-python align …"
    if environ.get("ACCELERATE_MIXED_PRECISION") and environ.get("MASTER_ADDR") and not environ.get("WORLD_SIZE"):
        return f"accelerate was asked for several processes and has started one, as it does on a CPU; {told}"
    if kind in ("ddp", "fsdp2", "deepspeed"):
        return f"compute.parallel is {kind}, and one process works, so that nothing is divided; {told}"
    return None
