"""Settings of training: the optimizer and its schedule, pretraining, SFT, and the machine.  No torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ValidationInfo, field_validator, model_validator

from alignment.data.settings import DataSettings, SourceSettings
from alignment.policy.settings import AdapterSettings
from alignment.settings import Settings, setting

MOST_EPOCHS = 100_000  # of any training: more is a slip, and its steps could not be counted


ParallelKind = Literal["auto", "none", "ddp", "fsdp2", "deepspeed"]


class ParallelSettings(Settings):
    """How the processes of one launch train together; a kind's name alone stands for it with its defaults."""

    kind: ParallelKind = setting(
        "auto",
        "auto: ddp among several processes, none alone; ddp: each holds the whole model; fsdp2: each holds a share of "
        "it (torch); deepspeed: ZeRO; none: one process only",
    )
    activation_checkpointing: bool = setting(
        False,
        "recompute activations in the backward pass in every training, beside model.gradient_checkpointing",
    )
    parameters: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "fsdp2: in what the layers' weights are gathered and used; auto: bf16 where the precision is, else fp32"
    )
    stage: Literal[1, 2, 3] | None = setting(
        None,
        "deepspeed: what is divided among the processes: 1 the optimizer's state, 2 gradients too, 3 weights too; "
        "not given: 2",
    )

    @model_validator(mode="after")
    def _options_of_the_kind(self) -> Self:
        for name, kind, given in (
            ("parameters", "fsdp2", self.parameters != "auto"),
            ("stage", "deepspeed", self.stage is not None),
        ):
            if given and self.kind != kind:
                raise ValueError(f"{name} is an option of the kind {kind}; the kind is {self.kind}")
        return self


def _by_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


class ComputeSettings(Settings):
    """How the machine is used.  `auto` is resolved at the start and printed in the run's header."""

    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "bf16 autocast with fp32 master weights where that was measured to be faster, else fp32"
    )
    threads: int = setting(0, "CPU threads of torch; 0 takes one per core", ge=0)
    attention: Literal["auto", "blocks", "sdpa", "flex", "dense"] = setting(
        "auto", "attention over forests: blocks on the CPU and sdpa on CUDA, where flex may be faster; dense is slow"
    )
    compile: bool = setting(
        False, "compile the decoder layers with torch.compile: a minute at the start (a CPU needs a C++ compiler)"
    )
    parallel: Annotated[
        ParallelSettings, BeforeValidator(_by_name, json_schema_input_type=ParallelKind | ParallelSettings)
    ] = setting(
        ParallelSettings(),
        "how several processes train together (docs/scale.md): a kind, or a mapping of it and its options",
        cosmetic=True,  # a run goes on with another number of processes and another kind
    )

    @field_validator("parallel")
    @classmethod
    def _no_contradiction(cls, parallel: ParallelSettings, info: ValidationInfo) -> ParallelSettings:
        if parallel.parameters == "bf16" and info.data.get("precision") == "fp32":
            raise ValueError("asks for parameters in bf16, and compute.precision is fp32; say the same in both")
        if parallel.kind in ("fsdp2", "deepspeed") and info.data.get("compile"):
            raise ValueError(f"is {parallel.kind}, which compute.compile does not go with; leave one of them out")
        return parallel


class OptimizerSettings(Settings):
    """AdamW as in the Llama 2 paper (2.2): betas 0.9/0.95, eps 1e-5, weight decay 0.1, clip 1.0."""

    learning_rate: float = setting(2e-5, "peak learning rate", gt=0, le=1.0)
    betas: tuple[float, float] = setting((0.9, 0.95), "AdamW's momentum decays")
    eps: float = setting(1e-5, "AdamW's epsilon", gt=0)
    weight_decay: float = setting(0.1, "decoupled weight decay, not on norms and biases", ge=0)
    max_grad_norm: float = setting(1.0, "clip the gradient's global norm", gt=0)
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "after warm-up: cosine to `final_fraction`, or constant"
    )
    final_fraction: float = setting(0.1, "the cosine ends at this share of the peak", ge=0, le=1)
    warmup_steps: int = setting(0, "steps of linear warm-up", ge=0)
    warmup_fraction: float = setting(0.0, "warm-up as a share of all steps; the longer of the two counts", ge=0, lt=1)

    @field_validator("betas")
    @classmethod
    def _decays(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"are AdamW's decays, each from 0 to below 1; {list(betas)} was given")
        return betas


class PretrainOptimizerSettings(OptimizerSettings):
    """AdamW of pretraining (Llama 2 paper, 2.2): peak 3e-4 after 2,000 steps of warm-up."""

    learning_rate: float = setting(3e-4, "peak learning rate", gt=0, le=1.0)
    warmup_steps: int = setting(2000, "steps of linear warm-up", ge=0)


class CadenceSettings(Settings):
    """What every training loop has; none of it changes a result."""

    save_every: int = setting(200, "steps between checkpoints", ge=1, cosmetic=True)
    keep_checkpoints: int = setting(
        2, "how many of the newest checkpoints are kept while training", ge=1, cosmetic=True
    )
    nonfinite_skips: int = setting(
        0, "updates that are NaN or infinite and skipped before training stops", ge=0, cosmetic=True
    )


class LoopSettings(CadenceSettings):
    """What every supervised stage has: optimizer, cadence of logs, held-out losses and checkpoints."""

    optimizer: OptimizerSettings = setting(OptimizerSettings(), "AdamW and its schedule")
    log_every: int = setting(1, "steps between rows of metrics.jsonl", ge=1, cosmetic=True)
    nonfinite_skips: int = setting(
        0, "steps whose loss or gradient is NaN or infinite that are skipped before training stops", ge=0, cosmetic=True
    )
    held_out_every: int = setting(0, "steps between held-out losses; 0: only at the end", ge=0)


class PackedSettings(LoopSettings):
    """What every stage has that trains on packed forests: how long, how many, how often."""

    context_length: int = setting(
        4096, "longest dialogue, in tokens; not given: what the model holds, up to 4,096", ge=8
    )
    pack_length: int = setting(0, "tokens of one packed forest; 0: the context length", ge=0)
    batch_size: int = setting(64, "packed forests per step", ge=1)
    epochs: float = setting(1.0, "passes over what is trained on", gt=0, le=MOST_EPOCHS)
    max_steps: int | None = setting(None, "stop after this many steps, whatever the epochs say", ge=1)

    @property
    def asked_context(self) -> int | None:
        """`context_length` where it was given; where it was not, it is no wish that a shorter model could fail."""
        return self.context_length if "context_length" in self.model_fields_set else None


class ReplaySource(Settings):
    """Where documents come from that a stage after pretraining goes on training on."""

    source: tuple[SourceSettings, ...] | None = setting(
        None, "sources of the documents, read in this order; null: what pretraining trains on (pretrain.data)"
    )

    @field_validator("source")
    @classmethod
    def _some(cls, source: tuple[SourceSettings, ...] | None) -> tuple[SourceSettings, ...] | None:
        if source is not None and not source:
            raise ValueError("names no source; list at least one, or leave it out for the pretraining documents")
        return source

    def data(self, pretraining: DataSettings | None) -> DataSettings | None:
        """The data set: one of its own sources, else pretraining's; None where there is neither."""
        return DataSettings(train=self.source) if self.source is not None else pretraining


class ReplaySettings(ReplaySource):
    """Pretraining documents mixed into a fine-tuning, so that what they say is not forgotten (ours)."""

    share: float = setting(
        ..., "documents per dialogue of the stage's own, drawn by name, none twice; every token is a target", gt=0
    )


class PretrainSettings(PackedSettings):
    """Pretraining from scratch or on (Llama 2 paper, 2)."""

    optimizer: PretrainOptimizerSettings = setting(PretrainOptimizerSettings(), "AdamW and its schedule")
    context_length: int = setting(
        4096,
        "longest sequence, in tokens; longer documents are split; not given: what the model holds, up to 4,096",
        ge=8,
    )
    batch_size: int = setting(1024, "packed forests per step (paper: 4 M tokens)", ge=1)
    epochs: float = setting(1.0, "passes over the documents", gt=0, le=MOST_EPOCHS)


class FineTuneSettings(PackedSettings):
    """What every stage has that goes on training a finished model: all of its weights, or an adapter beside them."""

    adapter: AdapterSettings | None = setting(
        None, "a small adapter that is trained in the place of all weights; none: every weight is trained", added=True
    )


class SftSettings(FineTuneSettings):
    """Supervised fine-tuning (Llama 2 paper, 3.1): lr 2e-5, weight decay 0.1, batch 64, 4,096 tokens, 2 epochs."""

    epochs: float = setting(2.0, "passes over the dialogues", gt=0, le=MOST_EPOCHS)
    too_long: Literal["truncate", "drop", "split"] = setting(
        "truncate", "dialogues over the context: cut the end, leave out, or split between turn pairs"
    )
    replay: ReplaySettings | None = setting(None, "pretraining documents mixed in; none: no document", added=True)
