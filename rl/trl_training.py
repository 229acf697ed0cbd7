"""What both baselines need of TRL, whose trainers train a policy of ours in place: quietly, leaving nothing behind.

TRL is the library that keeps these methods (https://github.com/huggingface/trl); it is imported by the two calls that
train with it, `rl.dpo.train_dpo` and `rl.grpo.train_grpo`, and nowhere else.  Its trainers get our token ids, our
optimizer and our schedule.  They write no file: neither checkpoints, whose `training_args.bin` is a pickle, nor a model
card; nothing is reported to any service.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
from huggingface_hub import constants
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from alignment.errors import NonFiniteError, UsageError
from alignment.model.checkpoint import quiet_loading, save_model
from alignment.policy.policy import Policy
from alignment.randomness import named_seed
from alignment.store.journal import Journal
from alignment.train.compute import Compute
from alignment.train.optimizer import make_optimizer
from alignment.train.schedule import learning_rate
from alignment.train.session import Session
from alignment.train.settings import OptimizerSettings

Figures = Mapping[str, float]


def require_trl(stage: str) -> None:
    """See that TRL is installed and one process with one device at most trains.

    Raises:
        UsageError: it is not; says how it is installed.  Or several devices are in sight, or several processes.
    """
    if importlib.util.find_spec("trl") is None:
        raise UsageError(f"{stage} is trained by the library TRL, which is not installed: pip install 'trl>=1.0'")
    if torch.cuda.device_count() > 1:
        raise UsageError(
            f"{stage} trains on one device and sees {torch.cuda.device_count()}; name one: CUDA_VISIBLE_DEVICES=0"
        )


def arguments(
    session: Session,
    compute: Compute,
    *,
    name: str,
    steps: int,
    batch_size: int,
    microbatch_size: int,
    optimizer: OptimizerSettings,
) -> dict[str, Any]:
    """What both trainers' configurations are told alike.

    Args:
        name: names the seed below the run's.
        steps: optimizer steps.
        batch_size: examples of a step.
        microbatch_size: examples of a forward pass; divides the batch.
    """
    return {
        "output_dir": str(session.folder),
        "save_strategy": "no",
        "report_to": "none",
        "push_to_hub": False,
        "max_steps": steps,
        "per_device_train_batch_size": microbatch_size,
        "gradient_accumulation_steps": batch_size // microbatch_size,
        "learning_rate": optimizer.learning_rate,
        "max_grad_norm": optimizer.max_grad_norm,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is NaN is to be seen
        "disable_tqdm": True,
        "seed": named_seed(session.seed, name) % 2**32,
        "use_cpu": compute.device.type == "cpu",
        "bf16": compute.autocast_dtype is torch.bfloat16,
        "fp16": False,
        "gradient_checkpointing": False,  # the model does as it was told when it was loaded
        "remove_unused_columns": False,
    }


def optimizers(
    model: PreTrainedModel, settings: OptimizerSettings, steps: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Our AdamW and our schedule, as every stage of the suite has them."""
    optimizer = make_optimizer(model, settings)
    peak = settings.learning_rate
    return optimizer, LambdaLR(optimizer, lambda done: learning_rate(settings, done + 1, steps) / peak)


@contextmanager
def transformers_files(policy: Policy, session: Session, *, with_model: bool = False) -> Iterator[Path]:
    """The policy's tokenizer, and its model where asked for, as files for transformers, as long as they are needed."""
    with TemporaryDirectory(dir=session.folder, prefix=".trl-") as name:
        folder = Path(name)
        policy.tokenizer.save(folder)
        if with_model:
            save_model(policy.model, folder)
        yield folder


def transformers_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer of a folder; TRL asks for one, and pads and shows with it."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def quiet() -> Iterator[None]:
    """No ping to huggingface.co when a trainer is made, no bars of data sets, no word that `rollout_func` is new."""
    telemetry, bars = constants.HF_HUB_DISABLE_TELEMETRY, datasets.are_progress_bars_disabled()
    constants.HF_HUB_DISABLE_TELEMETRY = True
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*rollout_func.*experimental")
            warnings.filterwarnings("ignore", category=FutureWarning)  # TRL and transformers to each other
            with quiet_loading():
                yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        if not bars:
            datasets.enable_progress_bars()


@contextmanager
def lent(model: PreTrainedModel) -> Iterator[None]:
    """A model that a trainer trains: what it puts in front of the forward pass is taken away again."""
    own, name = dict(vars(model)), model.config._name_or_path
    try:
        yield
    finally:
        for key in set(vars(model)) - set(own):
            if key not in ("_modules", "_parameters", "_buffers"):
                delattr(model, key)
        if "forward" in own:
            model.forward = own["forward"]
        model.config._name_or_path = name
        model.zero_grad(set_to_none=True)


class Told(TrainerCallback):
    """Passes a trainer's figures on to `metrics.jsonl` and the progress display, and obeys the stop flag.

    Args:
        names: the library's name of a figure -> ours.
        after: (steps done) -> figures to add to the step's row.

    Attributes:
        last: the figures of the last step.

    Raises:
        NonFiniteError: a step's loss or gradient is not finite.
    """

    def __init__(
        self,
        session: Session,
        journal: Journal,
        names: Mapping[str, str],
        *,
        steps: int,
        after: Callable[[int], Figures] = lambda done: {},
    ) -> None:
        self.session, self.journal, self.names, self.after = session, journal, names, after
        self.steps = steps
        self.last: dict[str, float] = {}
        self._added: Figures = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Show the steps to do."""
        self.session.progress.begin(self.steps, "steps")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Measure what is due, and obey the stop flag."""
        self._added = self.after(state.global_step)
        if self.session.stop.requested:
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> None:
        """One row a step; what it says at the end, of the whole training, is no row."""
        if logs is None or "loss" not in logs:
            return
        figures = {ours: float(logs[theirs]) for theirs, ours in self.names.items() if theirs in logs}
        for quantity in ("loss", "gradient_norm"):
            if not math.isfinite(value := figures.get(quantity, 0.0)):
                raise NonFiniteError(quantity, step=state.global_step, value=str(value))
        self.last = {name: value for name, value in figures.items() if math.isfinite(value)} | dict(self._added)
        self._added = {}
        self.journal.append({"step": state.global_step, **self.last}, flush=False)
        self.session.progress.step(state.global_step, self.last)


def run_trainer(trainer: Trainer, told: Told) -> None:
    """Train to the end.

    Raises:
        Interrupted: a signal came, and the step was finished; nothing of it is kept.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(told)
    trainer.train()
    told.session.progress.end()
    told.session.stop.check(trainer.state.global_step)


@contextmanager
def fresh_metrics(session: Session) -> Iterator[Journal]:
    """An empty `metrics.jsonl`: a baseline that was interrupted begins anew."""
    with Journal(session.folder / "metrics.jsonl") as journal:
        journal.rewind(0)
        yield journal
