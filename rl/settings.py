"""Settings of RLHF: rejection sampling, PPO, and the iteration V1 … Vn.  No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from alignment.data.settings import DataSettings, SourceSettings
from alignment.generate.settings import SamplingSettings
from alignment.model.settings import names_folder
from alignment.policy.settings import AdapterSettings
from alignment.settings import Settings, setting
from alignment.train.settings import (
    MOST_EPOCHS,
    CadenceSettings,
    FineTuneSettings,
    OptimizerSettings,
    ReplaySettings,
    ReplaySource,
)

Control = Literal["steps", "greedy"]
Baseline = Literal["dpo", "grpo"]
Refresh = Literal["fresh", "continue"]


class CombinationSettings(Settings):
    """How the two reward models become one score (Llama 2 paper, 3.2.3)."""

    safety_threshold: float = setting(
        0.15, "the safety score counts where it lies below this, or the prompt is a safety one", ge=0, le=1
    )


WhatFollows = Literal["tell", "stop", "skip"]


class ChecksSettings(Settings):
    """What follows where a check before RLHF fails: it is told, it stops, or it is not made."""

    threshold: WhatFollows = setting("tell", "scores of held-out answers lie on both sides of the safety threshold")
    refusals: WhatFollows = setting(
        "tell", "the safety model prefers safe answers to unsafe ones, and on fine prompts an answer to a refusal"
    )
    flaws: WhatFollows = setting("tell", "both models rank flawed copies of right answers below them")
    kept: WhatFollows = setting(
        "tell",
        "what a version keeps beats its greedy answers by the watch model (where `rejection.guard` draws them); "
        "without a watch model, the helpfulness model is right about held-out pairs of the policy's own answers",
    )
    disjoint: WhatFollows = setting(
        "tell", "no stage trains on a prompt that another holds out, and none chooses by one that is reported on"
    )


class VersionCollectSettings(Settings):
    """What a version after the first collects of its own answers (Llama 2 paper, 3.2.1: comparisons every week, of the
    newest model); what is null is as the section `collect` says, and so are prompts, annotator and the rest."""

    num_prompts: int | None = setting(None, "training prompts of the helpfulness campaign", ge=1)
    num_safety_prompts: int | None = setting(None, "training prompts of the safety campaign", ge=1)
    num_held_out: int | None = setting(None, "prompts of each campaign's validation part", ge=0)
    num_watch: int | None = setting(None, "further training prompts of each campaign, for the watch model alone", ge=0)
    temperatures: tuple[Annotated[float, Field(ge=0, le=10)], ...] | None = setting(
        None, "the newest model answers at each; before PPO it answers at PPO's alone"
    )
    answers: int | None = setting(None, "answers to a prompt at each temperature", ge=1, le=256)
    pairs_per_prompt: int | None = setting(None, "pairs of a prompt's answers that are compared, at most", ge=1)
    older_share: float = setting(
        1.0, "the share that a refreshed reward model reads of everything but the newest comparisons", ge=0, le=1
    )


class CandidateSettings(SamplingSettings):
    """How rejection sampling's candidates are drawn: from the whole distribution (paper: T 1.2 to 1.3)."""

    temperature: float = setting(1.0, "divides the logits; 0 takes the most likely token (greedy)", ge=0.0, le=10.0)
    top_p: float = setting(
        1.0, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0.0, le=1.0
    )


class RolloutSettings(SamplingSettings):
    """How PPO's answers are drawn: from the whole distribution, whose log-probabilities PPO computes."""

    temperature: float = setting(1.0, "divides the logits, in sampling and in PPO's ratios alike", ge=0.0, le=10.0)
    top_p: float = setting(1.0, "1 for PPO: a nucleus is another distribution than the ratios are of", gt=0.0, le=1.0)
    top_k: int = setting(0, "0 for PPO: the most likely K are another distribution than the ratios are of", ge=0)

    @field_validator("temperature", "top_p", "top_k")
    @classmethod
    def _the_whole_distribution(cls, value: float, info: ValidationInfo) -> float:
        needed = {"temperature": "above 0", "top_p": "1", "top_k": "0"}[str(info.field_name)]
        if (value <= 0) if info.field_name == "temperature" else (value != float(needed)):
            raise ValueError(
                f"must be {needed} for PPO, which learns from the ratio of whole distributions; {value:g} samples from "
                f"another one"
            )
        return value


class PpoOptimizerSettings(OptimizerSettings):
    """AdamW of PPO (Llama 2 paper, 3.2.3): constant 1e-6."""

    learning_rate: float = setting(1e-6, "peak learning rate", gt=0, le=1.0)
    schedule: Literal["cosine", "constant"] = setting(
        "constant", "after warm-up: cosine to `final_fraction`, or constant"
    )


class PpoAdapterSettings(AdapterSettings):
    """An adapter of PPO: the policy's, and one of the value function beside its head."""

    dropout: float = setting(0.0, "0 for PPO: its ratios compare two passes of one model over an answer", ge=0, lt=1)
    base_precision: Literal["fp32"] = setting("fp32", "the frozen base, which samples between the updates")

    @field_validator("dropout")
    @classmethod
    def _the_same_model_twice(cls, dropout: float) -> float:
        if dropout:
            raise ValueError(
                f"must be 0 for PPO, which learns from the ratio of two passes of one model over an answer; "
                f"{dropout:g} makes two models of it"
            )
        return dropout


class SamplesFromSettings(Settings):
    """Another, usually larger, model whose samples are learnt from (Llama 2 paper, 3.2.3: smaller models are fine-tuned
    on what rejection sampling keeps of the 70B model's answers)."""

    path: str = setting(
        ..., "a checkpoint's folder or hub name; its tokenizer must be the run's", file=names_folder, min_length=1
    )
    revision: str | None = setting(None, "the hub revision of `path`")


class RejectionSettings(FineTuneSettings):
    """Rejection sampling fine-tuning (Llama 2 paper, 3.2.3): K samples, the best kept, fine-tuned as SFT.

    `pool: all` keeps the best of every version so far.  `pool: previous` is what the paper did until V3, where only the
    answers of the iteration before were candidates; V3 then forgot what earlier versions could do (rhyming lines of
    poems), and with the top samples of all earlier iterations back among the candidates it did no more.
    """

    samples_per_prompt: int = setting(16, "K, answers drawn for each prompt", ge=1)
    prompts_per_version: int = setting(0, "prompts used by one version, drawn anew; 0: all", ge=0)
    sampling: CandidateSettings = setting(
        CandidateSettings(), "how the candidates are drawn (paper: T 1.2 to 1.3 for RLHF models)"
    )
    temperatures: tuple[Annotated[float, Field(gt=0, le=10)], ...] = setting(
        (),
        "temperatures that every version tries before it draws; of those whose kept answers do not lose to the greedy "
        "ones by the watch model it takes the one whose best of K is rewarded most; none: sampling.temperature",
        added=True,
    )
    sweep_prompts: int = setting(
        128, "of a version's prompts, how many the temperatures are tried on, K answers at each", added=True, ge=1
    )
    keep: Literal["best", "top_n"] = setting(
        "best", "what is kept of a prompt's answers: the best one, or the `top_n` best different ones", added=True
    )
    top_n: int | None = setting(None, "with keep: top_n, answers kept for each prompt, at most", added=True, ge=1)
    samples_from: SamplesFromSettings | None = setting(
        None,
        "distillation: a checkpoint that draws the candidates in the place of the model that is fine-tuned on them; "
        "none: the newest model draws",
        added=True,
    )
    guard: float | None = setting(
        None,
        "the model's own greedy answer is a candidate too, and another is kept only where its reward is higher by at "
        "least this, in logits; none: no greedy answer is drawn",
        added=True,
        ge=0,
    )
    pool: Literal["all", "previous"] = setting(
        "all", "candidates of all earlier versions stay in the pool, or only this version's (paper until V3)"
    )
    start_from: Literal["latest", "sft"] = setting(
        "latest", "the model that is fine-tuned: the latest version, or the SFT model anew (the paper does not say)"
    )
    sft_share: float = setting(0.0, "SFT dialogues mixed in, as a share of the kept answers", ge=0)
    sft_source: tuple[SourceSettings, ...] | None = setting(
        None,
        "sources of those dialogues, for example the ones that keep instructions which no prompt of RLHF gives: "
        "without them such skills are forgotten; null: what SFT trains on (sft.data)",
        added=True,
    )
    replay: ReplaySettings | None = setting(
        None, "pretraining documents mixed in, as a share of the kept answers; none: no document", added=True
    )
    epochs: float = setting(1.0, "passes over the kept answers", gt=0, le=MOST_EPOCHS)

    @property
    def kept_per_prompt(self) -> int:
        """How many answers of a prompt are kept, at most."""
        return self.top_n or 1

    @field_validator("temperatures")
    @classmethod
    def _each_tried_once(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        twice = sorted({each for each in temperatures if temperatures.count(each) > 1})
        if twice:
            raise ValueError(f"names {', '.join(f'{each:g}' for each in twice)} more than once; each is tried once")
        return temperatures

    @model_validator(mode="after")
    def _demonstrations_have_a_share(self) -> RejectionSettings:
        if self.sft_source is not None and not (self.sft_source and self.sft_share):
            named = "says where demonstrations come from, and sft_share is 0, which mixes none in"
            raise ValueError(
                f"sft_source {named if self.sft_source else 'names no source'}; say both, or leave sft_source out"
            )
        return self

    @model_validator(mode="after")
    def _as_many_as_are_kept(self) -> RejectionSettings:
        if self.keep == "top_n" and self.top_n is None:
            raise ValueError("keep is top_n, and top_n does not say how many; add it, for example top_n: 4")
        if self.keep == "best" and self.top_n is not None:
            raise ValueError(
                f"top_n is {self.top_n}, and keep is best, which keeps one answer; say keep: top_n, or leave top_n out"
            )
        if self.top_n is not None and self.top_n > self.samples_per_prompt:
            raise ValueError(
                f"top_n is {self.top_n}; of samples_per_prompt {self.samples_per_prompt} no more than those can be kept"
            )
        return self


class PpoReplaySettings(ReplaySource):
    """The language loss on pretraining documents in PPO (Ouyang et al. 2022, eq. 2: PPO-ptx)."""

    documents: int = setting(16, "documents per gradient step, drawn anew for each", ge=1)
    coefficient: float = setting(0.5, "weight of their language loss, a mean over tokens in nats", gt=0)


class AdaptiveKlSettings(Settings):
    """A KL coefficient that follows a target (Ziegler et al. 2019, 2.2, and the values of their code)."""

    target: float = setting(6.0, "the KL to the start that is aimed at, in nats per answer (their code: 6)", gt=0)
    horizon: int = setting(
        10_000,
        "answers in which beta changes by a factor of e^0.2 at most; larger is slower (their code: 10,000)",
        ge=1,
    )


class LengthPenaltySettings(Settings):
    """Taken from the reward of long answers: reward models tend to score length itself (Singhal et al. 2023)."""

    per_token: float = setting(0.01, "taken for each token beyond, on the whitened reward's scale", gt=0)
    over: int = setting(..., "tokens of an answer, its end token included, that cost nothing", ge=0)


class PpoSettings(CadenceSettings):
    """PPO (Llama 2 paper, 3.2.3): batch 512, mini-batch 64, clip 0.2, beta 0.01, constant lr 1e-6."""

    iterations: int = setting(200, "PPO iterations (paper: 200 to 400)", ge=1)
    value_iterations: int = setting(
        2, "iterations before these that train the value function alone, which starts at 0 (ours)", ge=0
    )
    batch_size: int = setting(512, "prompts per iteration, one answer each", ge=1)
    minibatch_size: int = setting(64, "answers per gradient step; must divide the batch", ge=1)
    epochs: int = setting(1, "passes over an iteration's answers", ge=1)
    clip: float = setting(0.2, "the ratio is clipped to [1-clip, 1+clip]", gt=0, lt=1)
    kl_coefficient: float = setting(0.01, "beta: weight of the KL to the model at the start of PPO", ge=0)
    kl_estimator: Literal["k1", "k3"] = setting(
        "k1",
        "the per-token KL in the reward; k1: log ratio, whose policy gradient is the KL's own; k3: (r-1)-log r with "
        "r = start / policy, never below 0, whose gradient as a reward is not the KL's (in the loss it is always k3)",
        added=True,
    )
    kl_in: Literal["reward", "loss"] = setting(
        "reward",
        "where the KL counts; reward: token by token, through advantages; loss: beside the policy's loss, k3 per token "
        "as in GRPO, weighted by the ratio so that its gradient is that of the same KL",
        added=True,
    )
    adaptive_kl: AdaptiveKlSettings | None = setting(
        None, "beta, from kl_coefficient on, follows a target KL; null: it stays as it is", added=True
    )
    value_clip: float = setting(0.2, "value predictions move at most this far from the rollout's; 0: no clip", ge=0)
    value_weight: float = setting(0.1, "weight of the value loss", ge=0)
    value_learning_rate: float | None = setting(None, "learning rate of the value function; none: the policy's", gt=0)
    gamma: float = setting(1.0, "discount of later rewards (the paper does not say: ours)", gt=0, le=1)
    gae_lambda: float = setting(0.95, "lambda of generalised advantage estimation (ours)", ge=0, le=1)
    whiten_advantages: bool = setting(True, "standardise advantages over the batch (ours)")
    missing_eos_penalty: float = setting(0.0, "taken from the whitened reward of answers cut at the limit (ours)", ge=0)
    length_penalty: LengthPenaltySettings | None = setting(
        None,
        "taken from the whitened reward of answers over a length, because reward models tend to score length itself "
        "and PPO then lengthens answers that say no more; null: length costs nothing",
        added=True,
    )
    reward_scale: Literal["batch", "running"] = setting(
        "batch",
        "over which rewards they are standardised; batch: the iteration's, as the paper is read; running: all of this "
        "training so far, so that a small batch's own spread is not taken for the scale",
        added=True,
    )
    sampling: RolloutSettings = setting(RolloutSettings(), "how rollouts are drawn")
    log_probs: Literal["trainer", "sampler"] = setting(
        "trainer",
        "whose log-probabilities of the answers the ratios and the KL go by; trainer: computed anew by the model that "
        "is trained; sampler: those that the answers were drawn with, which spares a pass over them and is off by "
        "sampler_gap (nothing to speak of in fp32)",
        added=True,
    )
    adapter: PpoAdapterSettings | None = setting(
        None,
        "an adapter each of policy and value function, trained in the place of all weights; without its own the policy "
        "is the reference; none: every weight is trained",
        added=True,
    )
    replay: PpoReplaySettings | None = setting(
        None, "language loss on pretraining documents beside the policy's; none: no document", added=True
    )
    on: Literal["rejection", "previous"] = setting(
        "rejection",
        "what PPO starts from: this version's rejection sampling (the paper's V5), or the previous version's model",
        added=True,
    )
    refresh: bool = setting(
        True,
        "where rlhf.refresh asks for new reward models: train them once more on the starting model's own answers at "
        "PPO's temperature, before PPO",
        added=True,
    )
    evaluate_every: int = setting(10, "iterations between held-out rewards", ge=1)
    patience: int = setting(5, "stop after this many held-out evaluations without a better one", ge=1)
    optimizer: PpoOptimizerSettings = setting(PpoOptimizerSettings(), "AdamW, constant learning rate")
    nonfinite_skips: int = setting(
        0,
        "updates skipped because a ratio, loss, gradient or reward is NaN or infinite before PPO stops",
        ge=0,
        cosmetic=True,
    )
    save_every: int = setting(10, "iterations between checkpoints", ge=1, cosmetic=True)

    @model_validator(mode="after")
    def _whole_minibatches(self) -> PpoSettings:
        if self.batch_size % self.minibatch_size:
            raise ValueError(
                f"minibatch_size {self.minibatch_size} does not divide batch_size {self.batch_size}; a divisor of the "
                f"batch is needed"
            )
        return self

    @model_validator(mode="after")
    def _a_coefficient_that_can_adapt(self) -> PpoSettings:
        if self.adaptive_kl is not None and self.kl_coefficient == 0:
            raise ValueError("adaptive_kl multiplies kl_coefficient, which is 0 and stays 0; say where it starts")
        return self

    @model_validator(mode="after")
    def _a_length_that_answers_reach(self) -> PpoSettings:
        longest = self.sampling.max_new_tokens
        if self.length_penalty is not None and self.length_penalty.over >= longest:
            raise ValueError(
                f"length_penalty.over {self.length_penalty.over} is never reached: answers end after "
                f"sampling.max_new_tokens, {longest}; a smaller length is needed"
            )
        return self


class DpoOptimizerSettings(OptimizerSettings):
    """AdamW of DPO, with the rates of Rafailov et al. 2023, appendix B (they took RMSprop, which decays nothing)."""

    learning_rate: float = setting(1e-6, "peak learning rate (paper: 1e-6)", gt=0, le=1.0)
    weight_decay: float = setting(0.0, "decoupled weight decay, not on norms and biases", ge=0)
    schedule: Literal["cosine", "constant"] = setting(
        "constant", "after warm-up: cosine to `final_fraction`, or constant"
    )
    warmup_steps: int = setting(150, "steps of linear warm-up (paper: 150)", ge=0)


class DpoSettings(Settings):
    """Direct preference optimisation by TRL's DPOTrainer (Rafailov et al. 2023, eq. 7 and appendix B)."""

    beta: float = setting(0.1, "how strongly the policy is held to its start (paper: 0.1)", gt=0)
    epochs: float = setting(1.0, "passes over the pairs", gt=0, le=MOST_EPOCHS)
    batch_size: int = setting(64, "pairs per optimizer step (paper: 64)", ge=1)
    microbatch_size: int = setting(8, "pairs of one forward pass: memory; must divide the batch", ge=1)
    context_length: int = setting(
        4096, "longest prompt with an answer, in tokens; not given: what the model holds, up to 4,096", ge=8
    )
    data: DataSettings | None = setting(
        None, "the pairs, and held-out ones; null: what every stage collect of the run collects, of both campaigns"
    )
    optimizer: DpoOptimizerSettings = setting(DpoOptimizerSettings(), "AdamW and its schedule")

    @property
    def asked_context(self) -> int | None:
        """`context_length` where it was given; where it was not, it is no wish that a shorter model could fail."""
        return self.context_length if "context_length" in self.model_fields_set else None

    @model_validator(mode="after")
    def _whole_microbatches(self) -> DpoSettings:
        _require_divisor("microbatch_size", self.microbatch_size, self.batch_size)
        return self


class GrpoOptimizerSettings(PpoOptimizerSettings):
    """AdamW of GRPO (Shao et al. 2024, 4.2): 1e-6, constant here; the paper names no decay."""

    weight_decay: float = setting(0.0, "decoupled weight decay, not on norms and biases", ge=0)


class GrpoSettings(Settings):
    """Group relative policy optimisation by TRL's GRPOTrainer (Shao et al. 2024: DeepSeekMath, eq. 3 and 4.2)."""

    samples: int | None = setting(
        None, "answers drawn in all, in whole steps; null: as many as all versions of RLHF draw", ge=1
    )
    batch_size: int = setting(1024, "answers per optimizer step (paper: 1,024)", ge=2)
    samples_per_prompt: int = setting(64, "answers to one prompt, a group; must divide the batch (paper: 64)", ge=2)
    microbatch_size: int = setting(32, "answers of one forward pass: memory; must divide the batch", ge=1)
    kl_coefficient: float = setting(0.04, "beta: weight of the KL to the start in the loss (paper: 0.04)", ge=0)
    clip: float = setting(0.2, "the ratio is clipped to [1-clip, 1+clip] (the paper does not say: TRL's)", gt=0, lt=1)
    sampling: RolloutSettings = setting(RolloutSettings(), "how the answers are drawn")
    evaluate_every: int = setting(10, "steps between held-out rewards, the last step's beside", ge=1)
    optimizer: GrpoOptimizerSettings = setting(GrpoOptimizerSettings(), "AdamW, constant learning rate")

    @model_validator(mode="after")
    def _whole_groups(self) -> GrpoSettings:
        _require_divisor("samples_per_prompt", self.samples_per_prompt, self.batch_size)
        _require_divisor("microbatch_size", self.microbatch_size, self.batch_size)
        if self.samples is not None and self.samples < self.batch_size:
            raise ValueError(f"samples {self.samples} make no step of batch_size {self.batch_size}; a batch at least")
        return self


def _require_divisor(name: str, value: int, batch_size: int) -> None:
    if batch_size % value:
        raise ValueError(f"{name} {value} does not divide batch_size {batch_size}; a divisor of the batch is needed")


class RlhfSettings(Settings):
    """RLHF-V1 … Vn (Llama 2 paper, 3.2.3): rejection sampling in every version, PPO on top from `ppo_from`."""

    versions: int = setting(5, "how many versions", ge=1, le=20)
    ppo_from: int = setting(5, "the first version with PPO on top of its rejection sampling; versions+1: never", ge=1)
    prompts: DataSettings = setting(..., "prompts to answer; held-out prompts measure the versions")
    safety_prompts: DataSettings | None = setting(None, "adversarial prompts, scored by the safety model")
    combination: CombinationSettings = setting(CombinationSettings(), "the combined reward")
    collect: VersionCollectSettings | None = setting(
        None,
        "what every version after the first collects of the newest model's answers; null: reward models learn from the "
        "first model's answers alone",
        added=True,
    )
    refresh: Refresh | None = setting(
        None,
        "where the reward models of every version after the first start, which learn from all comparisons so far; "
        "fresh: from the newest model's body; continue: from the previous version's reward models; null or false: the "
        "first version's judge all versions",
        added=True,
    )
    checks: ChecksSettings = setting(
        ChecksSettings(), "what follows where the reward models or the prompts are not fit for RLHF", cosmetic=True
    )
    rejection: RejectionSettings = setting(RejectionSettings(), "rejection sampling")
    ppo: PpoSettings = setting(PpoSettings(), "PPO")
    controls: tuple[Control, ...] = setting(
        (),
        "models that are evaluated beside the versions, so that no gain is credited to RLHF that they have too; steps: "
        "as many steps as rejection sampling of all versions, with the same documents, on demonstrations alone; "
        "greedy: version by version on the model's own greedy answers to the same prompts, with the same documents",
        added=True,
    )

    baselines: tuple[Baseline, ...] = setting(
        (),
        "what people use instead, by the library TRL, from the same start and evaluated beside the versions; dpo: on "
        "the collected pairs; grpo: with the combined reward, on the same prompts",
        added=True,
    )
    dpo: DpoSettings | None = setting(None, "the baseline dpo; null: its paper's values", added=True)
    grpo: GrpoSettings | None = setting(None, "the baseline grpo; null: its paper's values", added=True)

    @field_validator("refresh", mode="before")
    @classmethod
    def _false_is_none(cls, refresh: object) -> object:
        return None if refresh is False else refresh

    @field_validator("controls")
    @classmethod
    def _each_once(cls, controls: tuple[Control, ...]) -> tuple[Control, ...]:
        twice = sorted({name for name in controls if controls.count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} more than once; each control is one model")
        return controls

    @field_validator("baselines")
    @classmethod
    def _each_baseline_once(cls, baselines: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        twice = sorted({name for name in baselines if baselines.count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} more than once; each baseline is one model")
        return baselines

    @model_validator(mode="after")
    def _sections_of_named_baselines(self) -> RlhfSettings:
        unread = [name for name in ("dpo", "grpo") if getattr(self, name) is not None and name not in self.baselines]
        if unread:
            raise ValueError(
                f"{' and '.join(unread)} say how a baseline is trained that is not asked for; name it: "
                f"baselines: [{', '.join((*self.baselines, *unread))}], or leave the section out"
            )
        return self
