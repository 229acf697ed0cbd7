"""The temperature of a version's candidates, tried anew for each version (Llama 2 paper, 3.2.3 and figure 8).

The best temperature moves with RLHF, so each version tries several on a share of its own prompts.  The paper takes the
one with the highest mean maximum reward.  Alone that picks the worst one: the hotter the draw, the more answers whose
score errs upwards, and the better the best of them looks to the model that errs.  So only those temperatures are
candidates whose kept answers do not lose to the model's own greedy answers by the watch model, which rewarded nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from alignment.errors import CheckpointError
from alignment.generate.draw import JOURNALS, draw_samples
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.store.atomic import write_json
from alignment.train.session import Session
from rl.best_of_n import best_by_n, median_by_n
from rl.guard import greedy_answers, guard_kept, held_against
from rl.judges import RewardJudges
from rl.kept import Kept, demonstrable, top_of
from rl.result import AtTemperature, Guarded, Swept
from rl.rollout import Prompt, Rollout, score_rollouts
from rl.settings import RejectionSettings

SWEPT_FILE = "swept.json"


def sweep_temperatures(
    policy: Policy,
    prompts: Sequence[Prompt],
    judges: RewardJudges,
    settings: RejectionSettings,
    session: Session,
    version: int,
) -> Swept | None:
    """Draw K answers at each temperature to some of a version's prompts, and choose one.

    Samples are journalled, `samples/sweep-T.jsonl`; once chosen, `samples/swept.json` holds for the version.

    Args:
        prompts: all that the version asks.

    Returns:
        What was found; None where no temperatures are asked for.

    Raises:
        NonFiniteError: a score is NaN or infinite.
        CheckpointError: a journal or `swept.json` is damaged.
        Interrupted: somebody asked to stop.
    """
    if not settings.temperatures:
        return None
    if (found := _finished(session)) is not None:
        return found
    asked = _some(prompts, settings.sweep_prompts, seed=session.seed, version=version)
    drawn: dict[float, list[Rollout]] = {}
    for temperature in sorted(settings.temperatures):
        session.progress.begin(None, "samples")
        samples = draw_samples(
            policy,
            asked,
            num_samples=settings.samples_per_prompt,
            sampling=settings.sampling.model_copy(update={"temperature": temperature}),
            seed=session.seed,
            names=("rejection-sweep", version, repr(temperature)),
            journal_path=session.folder / JOURNALS / f"sweep-{temperature!r}.jsonl",
        )
        session.progress.end()
        session.stop.check()
        drawn[temperature] = score_rollouts(asked, samples, policy, judges)
    greedy = greedy_answers(policy, asked, judges, settings, session, version)
    usable = {t: [demonstrable(each, policy.tokenizer) for each in rollouts] for t, rollouts in drawn.items()}
    everywhere = [all(places[i] for places in usable.values()) for i in range(len(asked))]
    told = []
    for temperature, rollouts in drawn.items():
        places = usable[temperature]
        kept = _kept(rollouts, places, greedy, settings, version)
        against = held_against(kept, greedy, asked, policy, judges)
        # the same prompts at every temperature, where there are any
        shared = [own if here else [] for own, here in zip(places, everywhere, strict=True)]
        told.append(_told(temperature, rollouts, places, shared if any(everywhere) else places, against, judges))
    found = choose(told, prompts=len(asked), samples=settings.samples_per_prompt, watched=judges.watch is not None)
    write_json(session.folder / JOURNALS / SWEPT_FILE, {"fingerprint": session.fingerprint, "swept": asdict(found)})
    return found


def choose(told: Sequence[AtTemperature], *, prompts: int, samples: int, watched: bool) -> Swept:
    """Take the temperature with the highest mean best of K among those that stand; the lower of equals.

    Args:
        told: in rising order of temperature.
        samples: K.
        watched: whether there is a watch model; without one all stand.
    """
    standing = [each for each in told if each.best_by_n and (each.stands or not watched)]
    best = max(standing, key=lambda each: each.best_by_n[str(samples)]["value"], default=None)
    return Swept(
        prompts=prompts,
        samples=samples,
        chosen=best.temperature if best is not None else min(each.temperature for each in told),
        chosen_by="none" if best is None else "watch" if watched else "reward",
        temperatures=tuple(told),
    )


def _kept(
    rollouts: Sequence[Rollout],
    usable: Sequence[Sequence[int]],
    greedy: dict[str, Kept],
    settings: RejectionSettings,
    version: int,
) -> list[Kept]:
    """What the version would keep of these, by its guard too where it has one."""
    choices = zip(rollouts, usable, strict=True)
    count = settings.kept_per_prompt
    best = [kept for rollout, places in choices for kept in top_of(rollout, places, version, count)]
    return best if settings.guard is None else guard_kept(best, greedy, settings.guard)


def _told(
    temperature: float,
    rollouts: Sequence[Rollout],
    usable: Sequence[Sequence[int]],
    shared: Sequence[Sequence[int]],
    against: Guarded,
    judges: RewardJudges,
) -> AtTemperature:
    by = "wins" if judges.watch_is_paid else "watch"
    stands = by in against.over_greedy and against.over_greedy[by]["high"] >= 0
    return AtTemperature(
        temperature=temperature,
        best_by_n=best_by_n(rollouts, shared),
        median_by_n=median_by_n(rollouts),
        usable_share=sum(map(len, usable)) / sum(len(rollout.combined) for rollout in rollouts),
        over_greedy=against.over_greedy,
        without_verdict=against.without_verdict,
        stands=stands if judges.watch is not None else None,
    )


def _some(prompts: Sequence[Prompt], count: int, *, seed: int, version: int) -> list[Prompt]:
    """So many of a version's prompts, drawn by name; all where there are no more."""
    if count >= len(prompts):
        return list(prompts)
    picked = named_generator(seed, "rejection-sweep", version).choice(len(prompts), size=count, replace=False)
    return [prompts[i] for i in sorted(picked.tolist())]


def _finished(session: Session) -> Swept | None:
    """What was chosen before an interruption: what was drawn since was drawn at that temperature."""
    path = session.folder / JOURNALS / SWEPT_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Swept.of(found["swept"]) if found["fingerprint"] == session.fingerprint else None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not say which temperature was chosen ({type(error).__name__}); move the folder {JOURNALS} "
            f"away to draw anew"
        ) from None
