"""Ghost Attention data (Llama 2 paper, 3.3).

1. take user turns and one instruction;
2. put the instruction before *every* user message and sample the answers with the current chat model;
3. for training keep it only at the start (as the system message), half of the time written tersely;
4. loss on the last answer only, since the earlier ones were made under repeated instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment.constraint import Constraint
from alignment.errors import DataError
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy
from alignment.randomness import named_generator
from alignment.records import Dialogue, Source, Turn
from alignment.text.chat import marker_in
from alignment.train.session import Session
from gatt.groups import training_constraints
from gatt.result import Synthesis
from gatt.settings import GattSettings

_CONSTRAINT = "gatt-constraint"  # of a dialogue's meta: the instruction that it was made to keep


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One dialogue to hold: its user turns and its instruction.

    Attributes:
        terse: whether training writes the instruction tersely.
        opens: by turn, whether it begins a dialogue of the data; one that does not follows up on the turn before it.
        wording: the instruction's full wording in this dialogue.
        then: an instruction that takes the first one's place as system message, from `then_from` (a turn, from 0) on.
    """

    id: str
    user_turns: tuple[str, ...]
    constraint: Constraint
    terse: bool
    source: Source
    opens: tuple[bool, ...]
    wording: str
    then: Constraint | None = None
    then_from: int = 0

    def stands(self, turn: int) -> Constraint:
        """The instruction that stands at a turn, from 0."""
        return self.then if self.then is not None and turn >= self.then_from else self.constraint


def plan_dialogues(
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    *,
    count: int,
    turns: int,
    shorten_fraction: float,
    seed: int,
    name: str,
) -> list[Plan]:
    """Choose user turns and instructions, evenly over the instructions.

    A dialogue with fewer user turns than wanted is followed by the next one's, so that any data gives
    long dialogues.

    Raises:
        DataError: there are no dialogues or no constraints.
    """
    if not dialogues or not constraints:
        raise DataError(f"GAtt needs dialogues ({len(dialogues)} given) and constraints ({len(constraints)} given)")
    draws = named_generator(seed, "gatt-plan", name)
    order = draws.permutation(len(dialogues))
    plans = []
    at = 0
    for i in range(count):
        texts: list[str] = []
        opens: list[bool] = []
        first = dialogues[order[at % len(order)]]
        while len(texts) < turns:
            asked = [turn.content for turn in dialogues[order[at % len(order)]].turns if turn.role == "user"]
            texts += asked
            opens += [place == 0 for place in range(len(asked))]
            at += 1
        constraint = constraints[i % len(constraints)]
        plans.append(
            Plan(
                id=f"gatt-{name}-{i:05d}",
                user_turns=tuple(texts[:turns]),
                constraint=constraint,
                terse=bool(draws.random() < shorten_fraction),
                source=first.source,
                opens=tuple(opens[:turns]),
                wording=_wording(constraint, seed, name, i),
            )
        )
    return plans


def _wording(constraint: Constraint, seed: int, name: str, number: int) -> str:
    """One of its wordings; drawn apart, so that a constraint with one wording moves no other draw."""
    wordings = constraint.wordings
    if len(wordings) == 1:
        return wordings[0]
    return wordings[int(named_generator(seed, "gatt-wording", name, number).integers(len(wordings)))]


def hold_dialogues(
    policy: Policy,
    plans: Sequence[Plan],
    *,
    repeat_instruction: bool,
    sampling: SamplingSettings,
    session: Session,
    name: str,
) -> list[list[str]]:
    """Answer every plan's user turns one after the other, all plans side by side.

    Args:
        repeat_instruction: before every user message (synthesis), or only as the system message (evaluation).
        name: names the draws and the journals.

    Returns:
        Each plan's answers; fewer than its turns where the context was full.
    """
    answers: list[list[str]] = [[] for _ in plans]
    longest = max((len(plan.user_turns) for plan in plans), default=0)
    session.progress.begin(longest, "turns")
    for turn in range(longest):
        going = [i for i, plan in enumerate(plans) if len(answers[i]) == turn < len(plan.user_turns)]
        if not going:
            break  # every context is full
        prompts = [_history(plans[i], answers[i], repeat_instruction) for i in going]
        fitting, _ = fitting_prompts(prompts, policy, sampling)
        places = {plans[i].id: i for i in going}
        samples = draw_samples(
            policy,
            fitting,
            num_samples=1,
            sampling=sampling,
            seed=session.seed,
            names=("gatt", name, turn),
            journal_path=session.folder / JOURNALS / f"{name}-turn-{turn + 1}.jsonl",
        )
        for (prompt, _), options in zip(fitting, samples, strict=True):
            text = policy.tokenizer.decode(options[0].token_ids).strip()
            if marker_in(text, policy.tokenizer) is None:  # else the dialogue ends here
                answers[places[prompt.id]].append(text)
        session.progress.step(turn + 1, {})
        session.stop.check()
    session.progress.end()
    return answers


def training_plans(
    dialogues: Sequence[Dialogue], constraints: Sequence[Constraint], settings: GattSettings, *, seed: int
) -> list[Plan]:
    """The training dialogues to make; `settings.combine` of them under two instructions at once."""
    count = settings.num_dialogues
    return plan_dialogues(
        dialogues,
        training_constraints(constraints, count=count, combine_share=settings.combine, seed=seed),
        count=count,
        turns=settings.turns,
        shorten_fraction=settings.shorten_fraction,
        seed=seed,
        name="train",
    )


def synthesize_gatt(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
) -> tuple[list[Dialogue], Synthesis]:
    """Make GAtt's training dialogues with the current chat model, each held as a whole (the paper's way).

    Returns:
        Dialogues with the instruction as system message only (train them with loss on the last answer),
        and figures: planned, kept, share of last answers that follow the instruction.
    """
    plans = training_plans(dialogues, constraints, settings, seed=session.seed)
    held = hold_dialogues(
        policy, plans, repeat_instruction=True, sampling=settings.sampling, session=session, name="synthesis"
    )
    made = []
    satisfied = complete = 0
    for plan, answers in zip(plans, held, strict=True):
        if len(answers) < 2 or not answers[-1]:
            continue
        complete += 1
        follows = plan.constraint.satisfied(answers[-1])
        satisfied += follows
        if follows or not settings.keep_only_satisfied:
            made.append(training_dialogue(plan, list(zip(plan.user_turns, answers, strict=False))))
    share = satisfied / max(complete, 1)
    return made, Synthesis(planned=len(plans), complete=complete, follow_share=share, kept=len(made))


def _history(plan: Plan, answers: Sequence[str], repeat_instruction: bool) -> Dialogue:
    turns: list[Turn] = []
    for i in range(len(answers) + 1):
        text = plan.user_turns[i]
        turns.append(Turn(role="user", content=f"{plan.wording} {text}" if repeat_instruction else text))
        if i < len(answers):
            turns.append(Turn(role="assistant", content=answers[i]))
    stands = plan.stands(len(answers))
    said = plan.wording if stands is plan.constraint else stands.instruction
    return Dialogue(turns=tuple(turns), source=plan.source, id=plan.id, system=None if repeat_instruction else said)


def training_dialogue(plan: Plan, exchanges: Sequence[tuple[str, str]]) -> Dialogue:
    """A dialogue to train on, of (user, answer) by turn: the instruction as system message, terse where planned so."""
    turns: list[Turn] = []
    for user, answer in exchanges:
        turns += [Turn(role="user", content=user), Turn(role="assistant", content=answer)]
    system = plan.constraint.short if plan.terse else plan.wording
    return Dialogue(
        turns=tuple(turns), source=plan.source, id=plan.id, system=system, meta={_CONSTRAINT: plan.constraint.id}
    )


def is_synthesised(dialogue: Dialogue) -> bool:
    """Whether a dialogue was made here."""
    return _CONSTRAINT in dialogue.meta
