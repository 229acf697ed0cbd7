"""Does a model keep an instruction over many turns?  Consistency by turn (Llama 2 paper, 3.3, table 30)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from alignment.constraint import Constraint
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.report.intervals import wilson
from alignment.train.session import Session
from gatt.plan import Plan, plan_dialogues
from gatt.result import Changed, Consistency, HeldDialogue, KindConsistency, TurnShare
from gatt.settings import GattSettings
from gatt.synthesize import hold_dialogues

_EXAMPLES = 4  # dialogues that the report may show


@dataclass(frozen=True, kw_only=True)
class Held:
    """Evaluation dialogues with a model's answers; fewer answers than turns where the context was full."""

    plans: tuple[Plan, ...]
    answers: tuple[tuple[str, ...], ...]


def consistency_by_turn(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    *,
    name: str,
) -> Consistency:
    """Hold held-out dialogues with the instruction given once, and check every answer.

    Args:
        name: "before" or "after"; the plans are the same for both.

    Returns:
        The share that keeps the instruction by turn, and some dialogues.
    """
    return consistency(hold_held_out(policy, dialogues, constraints, settings, session, name=name))


def hold_held_out(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    *,
    name: str,
) -> Held:
    """Held-out dialogues, the instruction given once, answered greedily until the turns end or the context is full."""
    plans = _plans(dialogues, constraints, settings, session)
    return _hold(policy, plans, settings, session, name)


def consistency(held: Held) -> Consistency:
    """The share of answers that keep the instruction by turn, and some dialogues."""
    examples = [
        HeldDialogue(
            instruction=plan.wording,
            exchanges=tuple(zip(plan.user_turns, answers, strict=False)),
            kept=tuple(plan.constraint.satisfied(answer) for answer in answers),
        )
        for plan, answers in list(zip(held.plans, held.answers, strict=True))[:_EXAMPLES]
    ]
    verdicts = [
        [plan.constraint.satisfied(answer) for answer in answers]
        for plan, answers in zip(held.plans, held.answers, strict=True)
    ]
    return Consistency(turns=_shares(verdicts), examples=tuple(examples))


def consistency_by_kind(held: Mapping[str, Held]) -> tuple[KindConsistency, ...]:
    """The share by group, kind of instruction and turn, and what the same check finds where nobody asked.

    Args:
        held: by group.

    Returns:
        In the order of the groups; a combined constraint's kind is its parts' ("contains + max_words").
    """
    found = []
    for group, dialogues in held.items():
        rows = list(zip(dialogues.plans, dialogues.answers, strict=True))
        kinds = dict.fromkeys(plan.constraint.kinds for plan, _ in rows)
        for kind in kinds:
            own = [(plan, answers) for plan, answers in rows if plan.constraint.kinds == kind]
            constraints = dict.fromkeys(plan.constraint for plan, _ in own)
            others = [
                answer
                for other in held.values()
                for plan, answers in zip(other.plans, other.answers, strict=True)
                if not set(plan.constraint.kinds) & set(kind)
                for answer in answers
            ]
            chance = [constraint.satisfied(answer) for constraint in constraints for answer in others]
            found.append(
                KindConsistency(
                    group=group,
                    kind=" + ".join(kind),
                    turns=_shares([[plan.constraint.satisfied(answer) for answer in answers] for plan, answers in own]),
                    unasked=sum(chance) / len(chance) if chance else None,
                )
            )
    return tuple(found)


def changed_midway(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    *,
    name: str,
) -> Changed:
    """Hold dialogues whose system message is exchanged for another midway, the answers so far left as they are.

    The paper names this as what its method does not teach (3.3).  The second instruction is the next of the list that
    asks for something else.
    """
    at = settings.evaluation_turns // 2
    plans = []
    for i, plan in enumerate(_plans(dialogues, constraints, settings, session)):
        others = [one for one in constraints if one.asks != plan.constraint.asks]
        if others:
            plans.append(replace(plan, then=others[i % len(others)], then_from=at))
    held = _hold(policy, plans, settings, session, name)
    rows = list(zip(held.plans, held.answers, strict=True))
    stands = [[plan.stands(turn).satisfied(answer) for turn, answer in enumerate(answers)] for plan, answers in rows]
    first = [[plan.constraint.satisfied(answer) for answer in answers] for plan, answers in rows]
    return Changed(from_turn=at + 1, standing=_shares(stands), first=_shares(first))


def _plans(
    dialogues: Sequence[Dialogue], constraints: Sequence[Constraint], settings: GattSettings, session: Session
) -> list[Plan]:
    return plan_dialogues(
        dialogues,
        constraints,
        count=settings.evaluation_dialogues,
        turns=settings.evaluation_turns,
        shorten_fraction=0.0,
        seed=session.seed,
        name="evaluation",
    )


def _hold(policy: Policy, plans: Sequence[Plan], settings: GattSettings, session: Session, name: str) -> Held:
    greedy = settings.sampling.greedy()
    answers = hold_dialogues(policy, plans, repeat_instruction=False, sampling=greedy, session=session, name=name)
    return Held(plans=tuple(plans), answers=tuple(map(tuple, answers)))


def _shares(verdicts: Sequence[Sequence[bool]]) -> tuple[TurnShare, ...]:
    """By turn, over the dialogues that came so far.

    Args:
        verdicts: by dialogue and turn.
    """
    rows = []
    for turn in range(max(map(len, verdicts), default=0)):
        found = [own[turn] for own in verdicts if len(own) > turn]
        interval = wilson(sum(found), len(found))
        rows.append(
            TurnShare(turn=turn + 1, value=interval.value, low=interval.low, high=interval.high, dialogues=len(found))
        )
    return tuple(rows)
