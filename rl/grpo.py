"""Group relative policy optimisation by TRL (Shao et al. 2024: DeepSeekMath, 4.1), to compare the versions with: the
same reward, no value function.

G answers are drawn to each prompt; an answer's advantage is its reward less the group's mean, over the group's standard
deviation, at every one of its tokens (their 4.1.2); the loss is PPO's clipped one, a mean over each answer's tokens,
plus beta times the KL to the start by its nonnegative estimate (eq. 3 and 4).  One update follows each sampling (4.2),
so that the ratio is 1 and the clip never acts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from alignment.data.corpus import Loaded
from alignment.errors import DataError, NonFiniteError, SettingError, UsageError
from alignment.generate.draw import draw_samples, fitting_prompts
from alignment.generate.sampler import Sample
from alignment.given import given_prompts
from alignment.policy.policy import Policy, save_policy
from alignment.records import Answer, Dialogue
from alignment.store.atomic import write_json
from alignment.train.compute import Compute, resolve_compute
from alignment.train.session import Session
from rl.baseline_result import GrpoResult
from rl.best import Best
from rl.judges import RewardJudges
from rl.ppo import PromptSplit, draw_prompts
from rl.result import HeldOut
from rl.rollout import Prompt, mean_scores, score_rollouts, watched_by_prompt
from rl.settings import GrpoSettings
from rl.trl_training import (
    Figures,
    Told,
    arguments,
    fresh_metrics,
    lent,
    optimizers,
    quiet,
    require_trl,
    run_trainer,
    transformers_files,
    transformers_tokenizer,
)

# TRL's name of a figure -> ours
_FIGURES = {
    "loss": "loss",
    "grad_norm": "gradient_norm",
    "learning_rate": "learning_rate",
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "answer_tokens",
    "completions/clipped_ratio": "cut_share",
    "frac_reward_zero_std": "even_groups",
}


def train_grpo(
    policy: Policy,
    judges: RewardJudges,
    prompts: PromptSplit | Loaded[Dialogue],
    settings: GrpoSettings,
    session: Session,
    *,
    budget: int | None = None,
) -> GrpoResult:
    """Train a policy in place by TRL's GRPOTrainer, and save the best model to `checkpoint/` in the session's folder.

    TRL's loss and steps; the answers are drawn by our engine (TRL's hook for that is `rollout_func`), the very ids that
    were drawn are scored and trained on.  As with PPO, the result is the model whose greedy answers to held-out prompts
    the watch model likes best, or the combined reward where there is no such model.  Nothing is saved before the end,
    so that a run that was interrupted begins anew.

    Args:
        policy: as it is now it is the reference.
        judges: their combined reward, before the sigmoid, is the reward.
        prompts: as `load_prompts` gives them, or a `PromptSplit`.
        budget: answers to draw in all where `settings.samples` does not say.

    Returns:
        Steps, answers and held-out rewards; also in `grpo.json`.

    Raises:
        UsageError: TRL is not installed, or nothing says how many answers to draw.
        DataError: no prompt leaves room for an answer.
        SettingError: the answers make no step.
        TokenizerError: a judge was made with another tokenizer than the policy.
        NonFiniteError: a reward, loss or gradient is not finite; nothing is saved.
        Interrupted: a signal came; nothing is saved.
    """
    require_trl("grpo")
    judges.require_fit(policy)
    steps = grpo_steps(settings, budget)
    compute = resolve_compute(session.compute)
    compute.place(policy.model)
    train, left_out = fitting_prompts(given_prompts(prompts.train, "prompts.train"), policy, settings.sampling)
    test, _ = fitting_prompts(given_prompts(prompts.held_out, "prompts.held_out"), policy, settings.sampling)
    if not train or not test:
        raise DataError(f"GRPO has {len(train)} fitting prompts and {len(test)} held-out ones; both are needed")
    best, began = Best(policy.model), time.monotonic()
    best.offer(_held_out(policy, judges, test, settings, session, done=0))

    def measured(done: int) -> Figures:
        if done % settings.evaluate_every and done != steps:
            return {}
        best.offer(_held_out(policy, judges, test, settings, session, done=done))
        watch = best.course[-1].watch
        return {"held_out_reward": best.course[-1].reward, **({} if watch is None else {"held_out_watch": watch})}

    groups = _Groups(policy, judges, train, settings, session, steps=steps)
    _train(policy, groups, settings, session, compute, steps=steps, measured=measured)
    best.restore()
    result = GrpoResult(
        steps=steps,
        samples=steps * settings.batch_size,
        course=tuple(best.course),
        seconds=time.monotonic() - began,
        left_out=left_out,
    )
    meta = {"stage": "grpo", "fingerprint": session.fingerprint}
    session.before_save()
    save_policy(policy, session.folder / "checkpoint", meta=meta)
    write_json(session.folder / "grpo.json", result.as_json())
    return result


def grpo_steps(settings: GrpoSettings, budget: int | None) -> int:
    """Whole steps that the answers make.

    Raises:
        UsageError: nothing says how many.
        SettingError: they are fewer than one batch.
    """
    samples = settings.samples if settings.samples is not None else budget
    if samples is None:
        raise UsageError("nothing says how many answers GRPO may draw; say settings.samples, or give a budget")
    if samples < settings.batch_size:
        raise SettingError(
            "batch_size", f"{samples:,} answers make no step of {settings.batch_size:,}; a smaller batch will"
        )
    return samples // settings.batch_size


class _Groups:
    """The prompts of all steps in order, and what TRL asks of them: answers, and their rewards.

    TRL's data set holds a prompt's place here as its text, so that no text of ours is cut anew.
    """

    def __init__(
        self,
        policy: Policy,
        judges: RewardJudges,
        prompts: Sequence[Prompt],
        settings: GrpoSettings,
        session: Session,
        *,
        steps: int,
    ) -> None:
        self.policy, self.judges, self.settings, self.session = policy, judges, settings, session
        count = settings.batch_size // settings.samples_per_prompt
        self.prompts = [
            prompt
            for step in range(steps)
            for prompt in draw_prompts(prompts, count, seed=session.seed, iteration=step)
        ]
        self.per_step = count

    def rows(self) -> list[dict[str, str]]:
        """TRL's data set."""
        return [{"prompt": str(place)} for place in range(len(self.prompts))]

    def roll_out(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[list[Any]]]:
        """One answer for each text, which stands as often as a group has answers: TRL's `rollout_func`."""
        places = [int(text) for text in prompts]
        drawn: dict[int, Iterator[Sample]] = {}
        by_step: dict[int, list[int]] = {}
        for place in dict.fromkeys(places):
            by_step.setdefault(place // self.per_step, []).append(place)
        for step, members in by_step.items():
            samples = draw_samples(
                self.policy,
                [self.prompts[place] for place in members],
                num_samples=self.settings.samples_per_prompt,
                sampling=self.settings.sampling,
                seed=self.session.seed,
                names=("grpo", step),
                journal_path=None,
            )
            drawn |= {place: iter(group) for place, group in zip(members, samples, strict=True)}
        answers = [next(drawn[place]) for place in places]
        return {
            "prompt_ids": [list(self.prompts[place][1]) for place in places],
            "completion_ids": [list(answer.token_ids) for answer in answers],
            "logprobs": [list(answer.log_probs) for answer in answers],
        }

    def reward(
        self, prompts: Sequence[str], completion_ids: Sequence[Sequence[int]], **given: Any
    ) -> list[float | None]:
        """The combined reward of the very ids that are trained on: TRL's reward function.

        Raises:
            NonFiniteError: a score is NaN or infinite; names the prompts' rows and the step.
        """
        answers = [self._answer(int(text), tuple(ids)) for text, ids in zip(prompts, completion_ids, strict=True)]
        try:
            return [figures["combined"] for figures in self.judges.judge(answers)]
        except NonFiniteError as error:
            step = int(prompts[0]) // self.per_step + 1
            raise NonFiniteError(error.quantity, step=step, value=error.value, rows=error.rows) from error

    def _answer(self, place: int, token_ids: tuple[int, ...]) -> Answer:
        (dialogue, prompt_ids), tokenizer = self.prompts[place], self.policy.tokenizer
        return Answer(
            dialogue=dialogue,
            prompt_ids=prompt_ids,
            token_ids=token_ids,
            text=tokenizer.decode(token_ids).strip(),
            tokenizer=tokenizer.sha256,
            finished=token_ids[-1:] == (tokenizer.eos_id,),
        )


def _train(
    policy: Policy,
    groups: _Groups,
    settings: GrpoSettings,
    session: Session,
    compute: Compute,
    *,
    steps: int,
    measured: Callable[[int], Figures],
) -> None:
    """Let TRL take all steps."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    told = arguments(
        session,
        compute,
        name="grpo",
        steps=steps,
        batch_size=settings.batch_size,
        microbatch_size=settings.microbatch_size,
        optimizer=settings.optimizer,
    )
    own: dict[str, Any] = {
        "num_generations": settings.samples_per_prompt,
        "steps_per_generation": settings.batch_size // settings.microbatch_size,
        "num_iterations": 1,
        "max_completion_length": settings.sampling.max_new_tokens,
        "temperature": settings.sampling.temperature,
        "beta": settings.kl_coefficient,
        "epsilon": settings.clip,
        "loss_type": "grpo",
        "scale_rewards": "group",
        "shuffle_dataset": False,
    }
    held = settings.kl_coefficient > 0
    policy.model.train()
    with (
        lent(policy.model),
        quiet(),
        fresh_metrics(session) as journal,
        transformers_files(policy, session, with_model=held) as files,
    ):
        policy.model.config._name_or_path = str(files)  # from where TRL reads its reference, where it needs one
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=groups.reward,
            args=GRPOConfig(**own, **told),
            train_dataset=Dataset.from_list(groups.rows()),
            processing_class=transformers_tokenizer(files),
            optimizers=optimizers(policy.model, settings.optimizer, steps),
            rollout_func=groups.roll_out,
        )
        run_trainer(trainer, Told(session, journal, _FIGURES, steps=steps, after=measured))


def _held_out(
    policy: Policy,
    judges: RewardJudges,
    prompts: Sequence[Prompt],
    settings: GrpoSettings,
    session: Session,
    *,
    done: int,
) -> HeldOut:
    """Mean scores of greedy answers to held-out prompts, as PPO measures them."""
    greedy = settings.sampling.greedy()
    samples = draw_samples(
        policy,
        prompts,
        num_samples=1,
        sampling=greedy,
        seed=session.seed,
        names=("grpo-held-out", done),
        journal_path=None,
    )
    try:
        rollouts = score_rollouts(prompts, samples, policy, judges, watched=True)
    except NonFiniteError as error:
        raise NonFiniteError(f"held-out {error.quantity}", step=done, value=error.value, rows=error.rows) from error
    reward = float(np.mean([rollout.combined[0] for rollout in rollouts]))
    watch = watched_by_prompt(rollouts)
    return HeldOut(iteration=done, reward=reward, watch_by_prompt=watch, **mean_scores(rollouts))
