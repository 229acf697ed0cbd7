"""Settings of PPO: rollouts, the KL, penalties on the reward, replayed documents, adapters.  No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator, model_validator

from alignment.generate.settings import SamplingSettings
from alignment.policy.settings import AdapterSettings
from alignment.settings import Settings, setting
from alignment.train.settings import (
    CadenceSettings,
    OptimizerSettings,
    ReplaySource,
)

PACK_TOKENS = 4096  # of one forest of answers; a longer answer gets a forest of its own


def require_divisor(name: str, value: int, batch_size: int) -> None:
    """Refuse a size that does not divide the batch.

    Raises:
        ValueError: naming both.
    """
    if batch_size % value:
        raise ValueError(f"{name} {value} does not divide batch_size {batch_size}; a divisor of the batch is needed")


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
        require_divisor("minibatch_size", self.minibatch_size, self.batch_size)
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
