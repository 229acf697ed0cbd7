"""The training loop of every supervised stage: pretraining, SFT, reward models, fine-tuning on kept answers.

One plain loop on Accelerate.  A step takes a list of batches (forests); the loss is a *sum* over
the step's targets divided by their number, so that gradient accumulation cannot change it.  What is
random is named by the step, so a resumed run takes the very same steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from alignment.errors import CheckpointError
from alignment.store.journal import Journal
from alignment.train.checkpoints import Checkpoints, load_model_tensors, model_tensors
from alignment.train.compute import Compute, compile_layers, is_main_process, resolve_compute, wait_for_all
from alignment.train.nonfinite import NonFiniteSteps
from alignment.train.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors, set_learning_rate
from alignment.train.schedule import learning_rate
from alignment.train.session import Session
from alignment.train.settings import LoopSettings

# sums over a batch: the loss to descend on, and figures to log, all divided by the step's normaliser
Sums = tuple[Tensor, dict[str, Tensor]]


class Batch(Protocol):
    """One forward pass's share of a step: a forest of trees, with what its loss needs beside it."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the forest."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Where its trees came from ("file:line")."""

    def to(self, device: torch.device) -> Self:
        """The batch on another device."""


B = TypeVar("B", bound=Batch)
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)


class LossFunction(Protocol[B_contra]):
    """Computes a batch's summed loss."""

    def __call__(self, model: nn.Module, batch: B_contra) -> Sums: ...


@dataclass(frozen=True, kw_only=True)
class Training(Generic[B]):
    """What is trained on what.

    Attributes:
        model: trained in place.
        num_steps: optimizer steps.
        batches: step (from 0) -> the step's batches; must not depend on anything but the step.
        loss: the loss function.
        normaliser: a batch's share of the step's divisor (targets, pairs).
        evaluate: held-out figures, logged with the prefix "held_out_".
    """

    model: nn.Module
    num_steps: int
    batches: Callable[[int], Sequence[B]]
    loss: LossFunction[B]
    normaliser: Callable[[B], float]
    evaluate: Callable[[nn.Module, Compute], dict[str, float]] | None = None


class LossModule(nn.Module, Generic[B]):
    """Model and loss as one module, so that wrappers (DDP) see one forward pass."""

    def __init__(self, model: nn.Module, loss: LossFunction[B], compute: Compute) -> None:
        super().__init__()
        self.model = model
        self.loss_function, self.compute = loss, compute

    def forward(self, batch: B) -> Sums:
        with self.compute.autocast():
            return self.loss_function(self.model, batch)


def train(training: Training[B], settings: LoopSettings, session: Session) -> dict[str, float]:
    """Train, logging to `metrics.jsonl` and saving to `checkpoints/`; goes on where an earlier call stopped.

    Returns:
        The last held-out figures (empty without `evaluate`), plus `steps`, `tokens` trained on and `seconds`;
        `skipped_steps` where there were any.

    Raises:
        NonFiniteError: loss or gradient is not finite and no skip is left (`nonfinite_skips`); raised before the
            update, with `nonfinite.json` written.
        Interrupted: a signal came; the step was finished and saved.
        DiskFull: a checkpoint did not fit; the older ones stand.
    """
    compute = resolve_compute(session.compute)
    accelerator = Accelerator(cpu=compute.device.type == "cpu")
    model = training.model.to(compute.device).train()
    optimizer = make_optimizer(model, settings.optimizer)
    checkpoints = Checkpoints(
        session.folder / "checkpoints",
        fingerprint=session.fingerprint,
        keep=settings.keep_checkpoints,
        say=session.progress.note,
    )
    # one process writes; the others take the same steps
    journal = Journal(session.folder / "metrics.jsonl") if accelerator.is_main_process else None
    done, tokens, seconds, held_out = 0, 0, 0.0, dict[str, float]()
    if (resumed := checkpoints.newest()) is not None:
        load_model_tensors(model, resumed.tensors["model"])
        load_optimizer_tensors(model, optimizer, resumed.tensors["optimizer"])
        done, tokens, seconds = resumed.step, resumed.state["tokens"], resumed.state["seconds"]
        held_out = dict(resumed.state["held_out"])
        session.progress.note(f"goes on after step {done} of {training.num_steps}")
    if journal is not None:
        journal.rewind(resumed.state["metrics_rows"] if resumed is not None else 0)
    nonfinite = NonFiniteSteps(
        session.folder,
        allowed=settings.nonfinite_skips,
        skipped=resumed.state["skipped"] if resumed is not None else (),
        writes=accelerator.is_main_process,
    )
    _require_same_step(done, accelerator, compute)
    if session.compute.compile:
        compile_layers(model)
    optimizer.zero_grad(set_to_none=True)  # whatever the caller left behind
    module = accelerator.prepare(LossModule(model, training.loss, compute))
    session.progress.begin(training.num_steps, "steps")
    session.progress.step(done, {})

    def save(step: int) -> None:
        if journal is not None:
            journal.append_all([])
            checkpoints.save(
                step,
                tensors={"model": model_tensors(model), "optimizer": optimizer_tensors(model, optimizer)},
                state={
                    "tokens": tokens,
                    "seconds": seconds,
                    "metrics_rows": len(journal.records),
                    "held_out": held_out,
                    "skipped": nonfinite.skipped,
                },
            )
        accelerator.wait_for_everyone()  # a process that left now would make its launcher end the one that saves

    for step in range(done, training.num_steps):
        began = time.perf_counter()
        batches = training.batches(step)
        rate = learning_rate(settings.optimizer, step + 1, training.num_steps)
        set_learning_rate(optimizer, rate)
        figures, norm = _accumulate(module, batches, training, accelerator, compute)
        total_norm = nn.utils.clip_grad_norm_(model.parameters(), settings.optimizer.max_grad_norm)
        bad = _not_finite({"loss": figures["loss"], "gradient norm": float(total_norm)})
        if bad is None:
            optimizer.step()
            step_tokens = sum(batch.num_tokens for batch in batches)
            figures |= {"gradient_norm": float(total_norm), "learning_rate": rate}
            figures |= {"tokens": step_tokens, "targets": norm}
        else:  # no figure of this step means anything
            nonfinite.refuse(*bad, step=step + 1, rows=[row for batch in batches for row in batch.rows])
            step_tokens, figures = 0, {"skipped": len(nonfinite.skipped)}
        optimizer.zero_grad(set_to_none=True)
        took = time.perf_counter() - began
        tokens, seconds = tokens + step_tokens, seconds + took
        last = step + 1 == training.num_steps
        if training.evaluate is not None and (last or _due(step + 1, settings.held_out_every)):
            held_out = training.evaluate(model.eval(), compute)
            model.train()
            figures |= {f"held_out_{name}": value for name, value in held_out.items()}
        if journal is not None and (last or bad is not None or _due(step + 1, settings.log_every)):
            speed = {"time_tokens_per_second": step_tokens / took} if bad is None else {}
            journal.append({"step": step + 1, **figures, **speed}, flush=False)
        session.progress.step(step + 1, figures)
        stop = _anyone_stops(session, accelerator, compute)
        if stop or last or _due(step + 1, settings.save_every):
            save(step + 1)
            if stop and not last:
                if journal is not None:
                    journal.close()
                session.stop.check(step + 1)
    if journal is not None:
        journal.close()
    nonfinite.finish()
    session.progress.end()
    skipped = {"skipped_steps": len(nonfinite.skipped)} if nonfinite.skipped else {}
    return {**held_out, "steps": training.num_steps, "tokens": tokens, "seconds": seconds, **skipped}


def finish(session: Session) -> None:
    """Remove the training checkpoints once the stage's result stands; all processes leave together."""
    if is_main_process():
        Checkpoints(session.folder / "checkpoints", fingerprint="", keep=1, say=session.progress.note).clear()
    wait_for_all()


def _require_same_step(done: int, accelerator: Accelerator, compute: Compute) -> None:
    """Refuse to go on where the processes found different checkpoints (a folder that they do not share)."""
    if accelerator.num_processes == 1:
        return
    steps = accelerator.gather(torch.tensor([done], device=compute.device)).tolist()
    if len(set(steps)) > 1:
        raise CheckpointError(
            f"the processes would go on after different steps, {steps}; the run folder must be one that all of them see"
        )


def _anyone_stops(session: Session, accelerator: Accelerator, compute: Compute) -> bool:
    """Whether any process was asked to stop: a signal reaches them at different steps, all must stop at one."""
    if accelerator.num_processes == 1:
        return session.stop.requested
    asked = torch.tensor(float(session.stop.signal_number or 0), device=compute.device)
    signal_number = int(accelerator.gather(asked[None]).max())
    if signal_number and not session.stop.requested:
        session.stop.request(signal_number)
    return signal_number > 0


def _accumulate(
    module: nn.Module, batches: Sequence[B], training: Training[B], accelerator: Accelerator, compute: Compute
) -> tuple[dict[str, float], float]:
    """Sum the gradients of a step's batches; returns the step's figures and its normaliser."""
    norm = float(sum(training.normaliser(batch) for batch in batches))
    mine, weight = batches[accelerator.process_index :: accelerator.num_processes], 1.0
    if not mine:  # fewer forests than processes: the others wait for this one's gradients, so it sends zeros
        mine, weight = batches[:1], 0.0
    sums: dict[str, Tensor] = {}
    for i, batch in enumerate(mine):
        sync = accelerator.no_sync(module) if i + 1 < len(mine) else nullcontext()
        with sync:
            loss, parts = module(batch.to(compute.device))
            # DDP averages over processes; the loss is a sum over all of them
            accelerator.backward(loss * (weight * accelerator.num_processes / max(norm, 1e-9)))
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, torch.zeros((), device=compute.device)) + weight * value.detach().float()
    names = sorted(sums)
    stacked = accelerator.reduce(torch.stack([sums[name] for name in names]), reduction="sum")
    return {name: float(value) / max(norm, 1e-9) for name, value in zip(names, stacked, strict=True)}, norm


def _not_finite(quantities: Mapping[str, float]) -> tuple[str, str] | None:
    """The first quantity that is not finite, and its value as text."""
    return next(((name, str(value)) for name, value in quantities.items() if not math.isfinite(value)), None)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
