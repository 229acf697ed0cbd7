"""What a recipe's stages take of a machine: bytes by kind and stage, work, and whether it fits.  No torch.

Prompts are taken to be as long as answers, and a reward model to be of the policy's size, as the suite trains it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alignment.generate.limits import MAX_SLOTS, SHARE
from alignment.train.memory import (
    Bytes,
    ModelShape,
    Precision,
    cache_bytes,
    forward_flops,
    held,
    trained,
    training_flops,
)
from recipes.stages.kind import PlannedStage
from recipes.stages.needs import Needs

GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a plan is held against.

    Attributes:
        devices: how many.
        memory: bytes of each; None: nothing is held against it.
        flops: of each at its peak, a second; None: no hours are told.
        mfu: the share of the peak that training reaches (model FLOPs utilisation; PaLM, appendix B).
        precision: of the matrix products.
        fused_attention: whether attention keeps no probabilities (on a GPU).
        checkpointing: activations are computed again.
    """

    devices: int = 1
    memory: int | None = None
    flops: float | None = None
    mfu: float = 0.4
    precision: Precision = "bf16"
    fused_attention: bool = True
    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one stage takes.

    Attributes:
        stage: its name.
        roles: role -> its bytes on one device that holds it whole.
        forests: a step, on one device.
        flops: of the whole stage; None where the data decide how long it is.
        step_flops: of one optimizer step.
        wanted: answers that decode together where memory is no question; 0: none is drawn.
    """

    stage: str
    roles: dict[str, Bytes]
    forests: int
    flops: int | None
    step_flops: int
    wanted: int = 0

    @property
    def total(self) -> Bytes:
        """All roles together."""
        return _sum(self.roles.values())

    @property
    def whole(self) -> int:
        """The peak, in bytes, of a device that holds every role whole."""
        return self.total.peak(forests=self.forests)

    def sharded(self, devices: int) -> int:
        """The peak of a device with a share of weights, gradients and optimizer.

        While it samples it holds the whole policy beside its shares (gathered before, freed after; Llama 2 paper,
        3.4); the one layer that is gathered while it trains is left out.
        """
        own = _sum(own.over(devices) for own in self.roles.values())
        training = dataclasses.replace(own, cache=0).peak(forests=self.forests)
        gathered = max((role.weights for role in self.roles.values() if role.cache), default=0)
        return max(training, own.weights + own.optimizer + gathered + own.cache)

    def answers_at_once(self, machine: Machine) -> int:
        """Answers that decode together beside what stays in memory, on one device that holds everything whole; where
        that does not fit, on one of those that share it."""
        total = self.total
        if machine.memory is None or not total.cache:
            return self.wanted
        resident = total.weights + total.optimizer
        if self.whole > machine.memory and machine.devices > 1:
            shares = total.over(machine.devices)
            resident = shares.weights + shares.optimizer + max(own.weights for own in self.roles.values() if own.cache)
        free = machine.memory - resident
        return min(self.wanted, max(int(SHARE["cuda"] * free) // total.cache, int(free >= total.cache)))

    def hours(self, machine: Machine) -> float | None:
        """Device-hours of the stage at the machine's utilisation."""
        if self.flops is None or machine.flops is None:
            return None
        return self.flops / (machine.flops * machine.mfu) / 3600

    def as_json(self, machine: Machine) -> dict[str, Any]:
        """Plain values, in bytes and FLOPs."""
        return {
            "stage": self.stage,
            "roles": {role: dataclasses.asdict(own) for role, own in self.roles.items()},
            "peak": self.whole,
            "peak_sharded": self.sharded(machine.devices),
            "answers_at_once": self.answers_at_once(machine),
            "flops": self.flops,
            "flops_per_step": self.step_flops,
            "device_hours": self.hours(machine),
        }


def taken_by(stages: Sequence[PlannedStage], shape: ModelShape, machine: Machine) -> list[Taken]:
    """What each stage takes whose settings say it."""
    found = []
    for stage in stages:
        needs: Needs | None = stage.kind.needs(stage.inputs)
        if needs is not None:
            found.append(_taken(stage.name, needs, shape, machine))
    return found


def verdict(taken: Sequence[Taken], machine: Machine) -> str:
    """Whether it fits, in one sentence; "" where no memory was named."""
    if machine.memory is None or not taken:
        return ""
    whole = max(taken, key=lambda own: own.whole)
    if whole.whole <= machine.memory:
        return f"fits: the most is {_gb(whole.whole)} ({whole.stage}) of {_gb(machine.memory)} on each device"
    sharded = max(taken, key=lambda own: own.sharded(machine.devices))
    most = sharded.sharded(machine.devices)
    if machine.devices > 1 and most <= machine.memory:
        return (
            f"fits sharded over {machine.devices} devices: the most is {_gb(most)} ({sharded.stage}) of "
            f"{_gb(machine.memory)}; whole on each it needs {_gb(whole.whole)} ({whole.stage})"
        )
    return (
        f"does not fit: {sharded.stage} needs {_gb(most)} on each of {machine.devices} devices, where "
        f"{_gb(machine.memory)} are; more devices, model.gradient_checkpointing, a shorter pack_length or an adapter "
        f"take less"
    )


def _taken(name: str, needs: Needs, shape: ModelShape, machine: Machine) -> Taken:
    roles: dict[str, Bytes] = {}
    for role in needs.trained:
        roles[role] = trained(
            shape,
            tokens=needs.tokens,
            longest=needs.longest,
            precision=machine.precision,
            checkpointing=machine.checkpointing,
            fused_attention=machine.fused_attention,
            adapter=needs.adapter,
        )
    for role in needs.held:
        roles[role] = held(shape)
    drawing = 0
    if needs.together:
        positions = 2 * needs.new_tokens
        # in the policy's own dtype, from which is drawn
        cache = cache_bytes(shape, positions=positions, precision="fp32")
        first = needs.trained[0]
        roles[first] = dataclasses.replace(roles[first], cache=cache)
        drawing = forward_flops(shape, positions, longest=positions)
    step = len(needs.trained) * training_flops(shape, needs.tokens * needs.forests, longest=needs.longest)
    known = needs.steps is not None and needs.answers is not None
    # who is held beside reads every answer once
    flops = step * (needs.steps or 0) + (needs.answers or 0) * drawing * (1 + len(needs.held)) if known else None
    return Taken(
        stage=name,
        roles=roles,
        forests=needs.forests,
        flops=flops,
        step_flops=step,
        wanted=min(needs.together, MAX_SLOTS),
    )


def _sum(all_bytes: Iterable[Bytes]) -> Bytes:
    total = Bytes()
    for own in all_bytes:
        total = total + own
    return total


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / GB:,.1f} GB"
