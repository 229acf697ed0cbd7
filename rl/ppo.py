"""PPO (Llama 2 paper, 3.2.3): maximise the whitened combined reward minus beta times the KL to the start.

One iteration:
1. draw prompts and sample one answer each from the current policy;
2. score them with both reward models: R_c, then R~_c = whiten(logit(R_c)) over the batch;
3. log-probabilities under policy and reference, values; rewards and advantages (`objective.py`);
4. one pass of mini-batches: clipped policy loss, clipped value loss, one gradient step each.
Every few iterations held-out prompts are answered; the best model so far is the result, and training
stops when it has not improved for `patience` evaluations.

Left open by the paper, ours here: the value function (a copy of the helpfulness reward model), GAE,
the per-token KL estimator, whitening over the batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alignment.batch.render import answer_tree
from alignment.batch.tree import ForestBatch, Tree
from alignment.errors import DataError, NonFiniteError, UsageError
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy, save_policy
from alignment.randomness import named_generator
from alignment.records import Dialogue
from alignment.store.atomic import write_json
from alignment.store.journal import Journal
from alignment.train.checkpoints import Checkpoints, load_model_tensors, model_tensors
from alignment.train.compute import resolve_compute
from alignment.train.language_model import target_log_probs
from alignment.train.nonfinite import NonFiniteSteps
from alignment.train.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors, set_learning_rate
from alignment.train.schedule import learning_rate
from alignment.train.session import Session
from rl.experience import Experience, answer_batches
from rl.judges import RewardJudges
from rl.objective import (
    clipped_policy_loss,
    clipped_value_loss,
    generalised_advantages,
    kl_estimates,
    token_rewards,
    whiten,
)
from rl.rollout import Rollout, score_rollouts
from rl.settings import PpoSettings
from rl.value import ValueModel, answers_as_rows

Prompts = list[tuple[Dialogue, tuple[int, ...]]]


class PPOTrainer:
    """PPO on one policy.

    Args:
        policy: trained in place; its start is the reference.
        judges: the reward models; the value function starts from the helpfulness model.
    """

    def __init__(self, policy: Policy, judges: RewardJudges, settings: PpoSettings, session: Session) -> None:
        if settings.batch_size % settings.minibatch_size:
            raise UsageError(
                f"ppo.minibatch_size {settings.minibatch_size} does not divide ppo.batch_size {settings.batch_size}"
            )
        judges.require_fit(policy)
        self.policy, self.judges, self.settings, self.session = policy, judges, settings, session
        self.compute = resolve_compute(session.compute)
        self.compute.place(policy.model)
        self.model = policy.model.train()
        self.reference = copy.deepcopy(policy.model).requires_grad_(False).eval()
        self.value = ValueModel(judges.helpfulness).to(self.compute.device).train()
        self.policy_optimizer = make_optimizer(self.model, settings.optimizer)
        value_rate = settings.value_learning_rate or settings.optimizer.learning_rate
        self.value_settings = settings.optimizer.model_copy(update={"learning_rate": value_rate})
        self.value_optimizer = make_optimizer(self.value, self.value_settings)
        self.held_out: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.nonfinite = NonFiniteSteps(session.folder, allowed=settings.nonfinite_skips)
        self.scaled = False  # whether the value function knows the rewards' scale

    def train(self, prompts: Sequence[Dialogue], held_out: Sequence[Dialogue]) -> dict[str, Any]:
        """Run PPO and save the best model to `checkpoint/`; goes on where an earlier call stopped.

        Returns:
            Iterations run, the held-out rewards by iteration, the best one and its iteration; also in `ppo.json`.

        Raises:
            DataError: no prompt leaves room for an answer.
            NonFiniteError: a reward, ratio, loss or gradient is not finite and no skip is left
                (`nonfinite_skips`); before the update, with `nonfinite.json` written.
            Interrupted: a signal came; the iteration was finished and saved.
        """
        settings, session = self.settings, self.session
        fitting, left_out = fitting_prompts(prompts, self.policy, settings.sampling)
        test, _ = fitting_prompts(held_out, self.policy, settings.sampling)
        if not fitting or not test:
            raise DataError(f"PPO has {len(fitting)} fitting prompts and {len(test)} held-out ones; both are needed")
        checkpoints = Checkpoints(
            session.folder / "checkpoints",
            fingerprint=session.fingerprint,
            keep=settings.keep_checkpoints,
            say=session.progress.note,
        )
        journal = Journal(session.folder / "metrics.jsonl")
        done = self._resume(checkpoints, journal)
        session.progress.begin(settings.iterations, "iterations")
        if done == 0:
            self._evaluate(0, test)
        stopped = self._out_of_patience()
        while done < settings.iterations and not stopped:
            figures = self._iterate(done, fitting)
            done += 1
            last = done == settings.iterations
            if last or done % settings.evaluate_every == 0:
                figures |= {"held_out_reward": self._evaluate(done, test)["reward"]}
                stopped = self._out_of_patience()
            journal.append({"step": done, **figures})
            session.progress.step(done, figures)
            if session.stop.requested or last or stopped or done % settings.save_every == 0:
                self._save(checkpoints, journal, done)
                if not (last or stopped):
                    session.stop.check(done)
        journal.close()
        session.progress.end()
        return self._finish(checkpoints, done, left_out)

    def _iterate(self, iteration: int, prompts: Prompts) -> dict[str, float]:
        """One PPO iteration; returns its figures."""
        settings = self.settings
        picked = named_generator(self.session.seed, "ppo-prompts", iteration).choice(
            len(prompts), size=settings.batch_size, replace=settings.batch_size > len(prompts)
        )
        # a prompt drawn twice in one iteration must have two names, or both would get one sample
        chosen = [(_named(prompts[i][0], place), prompts[i][1]) for place, i in enumerate(picked.tolist())]
        skipped, file = len(self.nonfinite.skipped), f"iteration-{iteration:05d}.jsonl"
        try:
            rollouts = self._rollouts(chosen, settings.sampling, ("ppo", iteration), file)
        except NonFiniteError as error:  # without rewards the iteration has no update at all: one skip
            self.nonfinite.refuse(error.quantity, error.value, step=iteration + 1, rows=error.rows)
            return {"skipped": len(self.nonfinite.skipped)}
        experience, figures = self._experience(rollouts)
        rate = learning_rate(settings.optimizer, iteration + 1, settings.iterations)
        set_learning_rate(self.policy_optimizer, rate)
        set_learning_rate(
            self.value_optimizer, rate / settings.optimizer.learning_rate * self.value_settings.learning_rate
        )
        updates: list[dict[str, float]] = []
        for epoch in range(settings.epochs):
            order = named_generator(self.session.seed, "ppo-minibatches", iteration, epoch).permutation(len(rollouts))
            for at in range(0, len(order), settings.minibatch_size):
                members = order[at : at + settings.minibatch_size]
                update = self._update(experience, members, iteration + 1, rollouts)
                updates += [update] if update is not None else []
        for name in updates[0] if updates else ():
            figures[name] = float(np.mean([update[name] for update in updates]))
        if len(self.nonfinite.skipped) > skipped:  # what could not be used is told by no number
            figures = {name: value for name, value in figures.items() if math.isfinite(value)}
            figures["skipped"] = len(self.nonfinite.skipped)
        return figures

    def _rollouts(
        self, prompts: Prompts, sampling: SamplingSettings, names: tuple[str | int, ...], file: str
    ) -> list[Rollout]:
        samples = draw_samples(
            self.policy,
            prompts,
            num_samples=1,
            sampling=sampling,
            seed=self.session.seed,
            names=names,
            journal_path=self.session.folder / JOURNALS / file,
        )
        return score_rollouts(prompts, samples, self.policy, self.judges)

    def _experience(self, rollouts: list[Rollout]) -> tuple[Experience, dict[str, float]]:
        settings = self.settings
        trees = [
            answer_tree(r.prompt_ids, [r.samples[0].token_ids], row=str(r.prompt.source), trained=True)
            for r in rollouts
        ]
        raw = torch.tensor([rollout.combined[0] for rollout in rollouts], dtype=torch.float32)
        if not self.scaled:
            self.value.set_scale(raw)
            self.scaled = True
        score = whiten(raw)
        finished = torch.tensor([rollout.samples[0].finish_reason == "stop" for rollout in rollouts])
        score = torch.where(finished, score, score - settings.missing_eos_penalty)
        temperature = settings.sampling.temperature or 1.0
        log_probs, mask = self._rows(trees, self.model, temperature)
        reference, _ = self._rows(trees, self.reference, temperature)
        values, _ = self._rows(trees, self.value, temperature)
        rewards = token_rewards(score, log_probs, reference, mask, settings.kl_coefficient)
        advantages, returns = generalised_advantages(
            rewards, values, mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda
        )
        kl, positive_kl = kl_estimates(log_probs, reference, mask)
        residual = torch.where(mask, returns - values, torch.zeros_like(values))
        spread = returns[mask].var(correction=0).clamp_min(1e-8)
        figures = {
            "reward": float(raw.mean()),
            "helpfulness": float(np.mean([rollout.helpfulness[0] for rollout in rollouts])),
            "safety": float(np.mean([rollout.safety[0] for rollout in rollouts])),
            "kl": float(kl),
            "kl_nonnegative": float(positive_kl),
            "answer_tokens": float(mask.sum() / max(len(rollouts), 1)),
            "cut_share": float((~finished).float().mean()),
            "explained_variance": float(1.0 - residual[mask].var(correction=0) / spread),
        }
        if settings.whiten_advantages:
            advantages = whiten(advantages, mask)
        experience = Experience(
            trees=tuple(trees), log_probs=log_probs, values=values, advantages=advantages, returns=returns, mask=mask
        )
        return experience, figures

    def _rows(self, trees: list[Tree], model: nn.Module, temperature: float) -> tuple[Tensor, Tensor]:
        """Per-token log-probabilities (or values) of every answer, [B, N], without gradient, on the CPU."""
        counts = [len(tree.segments[1]) for tree in trees]
        found: list[Tensor] = [torch.zeros(0)] * len(trees)
        with torch.no_grad():
            for batch in answer_batches(trees, range(len(trees))):
                with self.compute.autocast():
                    flat = self._per_token(model, batch.forest.to(self.compute.device), temperature).float().cpu()
                for i, piece in zip(batch.members, flat.split(batch.counts), strict=True):
                    found[i] = piece
        return answers_as_rows(torch.cat(found), counts)

    @staticmethod
    def _per_token(model: nn.Module, batch: ForestBatch, temperature: float) -> Tensor:
        if isinstance(model, ValueModel):
            return model(batch)
        return target_log_probs(model, batch, temperature=temperature)

    def _update(
        self, experience: Experience, members: np.ndarray, step: int, rollouts: list[Rollout]
    ) -> dict[str, float] | None:
        """One gradient step of policy and value on a mini-batch; None if it was skipped."""
        settings, device = self.settings, self.compute.device
        tokens = max(int(experience.mask[members].sum()), 1)
        sums = {"policy_loss": 0.0, "value_loss": 0.0, "clip_fraction": 0.0, "ratio_max": 0.0}
        for batch in (batch.to(device) for batch in answer_batches(experience.trees, members.tolist())):
            at, counts = list(batch.members), list(batch.counts)
            longest = max(counts)
            had = (experience.log_probs, experience.values, experience.advantages, experience.returns, experience.mask)
            old, values, advantages, returns, mask = (x[at, :longest].to(device) for x in had)
            with self.compute.autocast():
                flat = target_log_probs(self.model, batch.forest, temperature=settings.sampling.temperature or 1.0)
                predicted = self.value(batch.forest)
            new, _ = answers_as_rows(flat.float(), counts)
            new_values, _ = answers_as_rows(predicted.float(), counts)
            policy_loss, ratio, clipped = clipped_policy_loss(new, old, advantages, mask, settings.clip)
            value_loss = clipped_value_loss(new_values, values, returns, mask, settings.value_clip)
            if not (torch.isfinite(ratio) & torch.isfinite(new)).all():  # at a log-probability of -inf it is 0
                odd = torch.where(torch.isfinite(new), ratio, new).detach()
                self._skip("log-probability ratio", float(odd[~torch.isfinite(odd)][0]), step, rollouts, at)
                return None
            ((policy_loss + settings.value_weight * value_loss) / tokens).backward()
            sums["policy_loss"] += float(policy_loss.detach()) / tokens
            sums["value_loss"] += float(value_loss.detach()) / tokens
            sums["clip_fraction"] += float(clipped) / tokens
            sums["ratio_max"] = max(sums["ratio_max"], float(ratio.detach().max()))
        for name, model in (("policy", self.model), ("value", self.value)):
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), settings.optimizer.max_grad_norm))
            for quantity, value in ((f"{name} loss", sums[f"{name}_loss"]), (f"{name} gradient norm", norm)):
                if not math.isfinite(value):
                    self._skip(quantity, value, step, rollouts, members.tolist())
                    return None
            sums[f"{name}_gradient_norm"] = norm
        for optimizer in (self.policy_optimizer, self.value_optimizer):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return sums

    def _skip(self, quantity: str, value: float, step: int, rollouts: list[Rollout], members: list[int]) -> None:
        """Leave a mini-batch's update out, of policy and value alike; stops where no skip is left."""
        self.nonfinite.refuse(quantity, str(value), step=step, rows=[str(rollouts[i].prompt.source) for i in members])
        for optimizer in (self.policy_optimizer, self.value_optimizer):
            optimizer.zero_grad(set_to_none=True)

    def _evaluate(self, iteration: int, prompts: Prompts) -> dict[str, float]:
        """Mean combined reward of greedy answers to held-out prompts; remembers the best model."""
        greedy = self.settings.sampling.model_copy(update={"temperature": 0.0})
        file = f"held-out-{iteration:05d}.jsonl"
        try:
            rollouts = self._rollouts(prompts, greedy, ("ppo-held-out", iteration), file)
        except NonFiniteError as error:  # the best model cannot be told without it: no skip helps
            self.nonfinite.stop(f"held-out {error.quantity}", error.value, step=iteration, rows=error.rows)
        self.model.train()
        figures = {
            "iteration": float(iteration),
            "reward": float(np.mean([rollout.combined[0] for rollout in rollouts])),
            "helpfulness": float(np.mean([rollout.helpfulness[0] for rollout in rollouts])),
            "safety": float(np.mean([rollout.safety[0] for rollout in rollouts])),
        }
        if not self.held_out or figures["reward"] > max(entry["reward"] for entry in self.held_out):
            self.best = {name: tensor.clone() for name, tensor in model_tensors(self.model).items()}
        self.held_out.append(figures)
        return figures

    def _out_of_patience(self) -> bool:
        rewards = [entry["reward"] for entry in self.held_out]
        return len(rewards) - 1 - int(np.argmax(rewards)) >= self.settings.patience

    def _save(self, checkpoints: Checkpoints, journal: Journal, done: int) -> None:
        journal.append_all([])
        checkpoints.save(
            done,
            tensors={
                "policy": model_tensors(self.model),
                "policy_optimizer": optimizer_tensors(self.model, self.policy_optimizer),
                "value": model_tensors(self.value),
                "value_optimizer": optimizer_tensors(self.value, self.value_optimizer),
                "best": self.best,
            },
            state={
                "held_out": self.held_out,
                "shift": self.value.shift,
                "scale": self.value.scale,
                "scaled": self.scaled,
                "skipped": self.nonfinite.skipped,
                "metrics_rows": len(journal.records),
            },
        )

    def _resume(self, checkpoints: Checkpoints, journal: Journal) -> int:
        resumed = checkpoints.newest()
        if resumed is None:
            journal.rewind(0)
            return 0
        load_model_tensors(self.model, resumed.tensors["policy"])
        load_optimizer_tensors(self.model, self.policy_optimizer, resumed.tensors["policy_optimizer"])
        load_model_tensors(self.value, resumed.tensors["value"])
        load_optimizer_tensors(self.value, self.value_optimizer, resumed.tensors["value_optimizer"])
        self.best = dict(resumed.tensors["best"])
        self.held_out = list(resumed.state["held_out"])
        self.value.shift, self.value.scale = resumed.state["shift"], resumed.state["scale"]
        self.scaled, self.nonfinite.skipped = resumed.state["scaled"], list(resumed.state["skipped"])
        journal.rewind(resumed.state["metrics_rows"])
        self.session.progress.note(f"goes on after iteration {resumed.step} of {self.settings.iterations}")
        return resumed.step

    def _finish(self, checkpoints: Checkpoints, done: int, left_out: int) -> dict[str, Any]:
        load_model_tensors(self.model, self.best)
        save_policy(
            self.policy,
            self.session.folder / "checkpoint",
            meta={"stage": "ppo", "fingerprint": self.session.fingerprint},
        )
        best = max(self.held_out, key=lambda entry: entry["reward"])
        result = {
            "iterations": done,
            "held_out": self.held_out,
            "start_reward": self.held_out[0]["reward"],
            "best_reward": best["reward"],
            "best_iteration": int(best["iteration"]),
            "prompts_left_out": left_out,
        }
        if self.nonfinite.skipped:
            result["skipped_updates"] = len(self.nonfinite.skipped)
        write_json(self.session.folder / "ppo.json", result)
        self.nonfinite.finish()
        checkpoints.clear()
        return result


def _named(prompt: Dialogue, place: int) -> Dialogue:
    return Dialogue(
        turns=prompt.turns, source=prompt.source, id=f"{prompt.id}#{place}", system=prompt.system, meta=prompt.meta
    )
