"""Ghost Attention dialogues put together of turns that were each asked alone, checked, and asked again (ours).

Held as a whole (`synthesize.py`, the paper's way) a dialogue follows its instruction less with every turn, though the
instruction is repeated, so that few long ones can be kept.  Here every user message is asked by itself under the
repeated instruction, a follow-up with a few exchanges of its own dialogue before it; an answer that ignores the
instruction is drawn anew, and the training dialogue is made of the turns whose answer was kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.generate.sampler import Sample
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Turn
from alignment.text.chat import marker_in, render_dialogue
from alignment.train.session import Session
from gatt.plan import Plan, training_dialogue
from gatt.result import TurnSynthesis
from gatt.settings import GattSettings

NO_ROOM, EMPTY, UNFINISHED, MARKER = "no room in the context", "empty", "not ended", "a marker of the chat format"
IGNORES, DANGLING = "ignores the instruction", "follows a turn that was left out"
_Place = tuple[int, int]  # (plan, turn), both from 0


@dataclass(kw_only=True)
class _Work:
    """What became of the turns so far."""

    kept: dict[_Place, str] = field(default_factory=dict)
    left_out: dict[_Place, str] = field(default_factory=dict)  # the reason
    asked: int = 0
    drawn: int = 0
    at_once: int = 0  # turns whose first answer was kept


def compose_gatt(
    policy: Policy, plans: Sequence[Plan], settings: GattSettings, session: Session, *, context_length: int, name: str
) -> tuple[list[Dialogue], TurnSynthesis]:
    """Make training dialogues turn by turn.

    Args:
        context_length: in tokens; a dialogue ends with the last turn that fits.
        name: names the draws and the journals, from which an interrupted synthesis goes on.

    Returns:
        Dialogues of two turns or more, every answer of which follows the instruction (if `keep_only_satisfied`), and
        what was planned, drawn, kept and left out.
    """
    work = _Work()
    waves = _waves(plans, settings.history)
    session.progress.begin(len(waves) * settings.attempts, "rounds")
    for number, wave in enumerate(waves):
        _answer(policy, plans, wave, work, settings, session, f"{name}-{number + 1}", number * settings.attempts)
    session.progress.end()
    _leave_out_dangling(plans, work)
    made, cut, whole = [], 0, 0
    for i, plan in enumerate(plans):
        exchanges = [
            (plan.user_turns[turn], work.kept[i, turn])
            for turn in range(len(plan.user_turns))
            if (i, turn) in work.kept
        ]
        fitting = _turns_that_fit(plan, exchanges, policy, context_length)
        cut += fitting < len(exchanges)
        whole += fitting == len(plan.user_turns)
        if fitting > 1:
            made.append(training_dialogue(plan, exchanges[:fitting]))
    return made, TurnSynthesis(
        planned=len(plans),
        complete=whole,
        follow_share=work.at_once / max(work.asked, 1),
        kept=len(made),
        turns_planned=sum(len(plan.user_turns) for plan in plans),
        turns_kept=len(work.kept),
        answers_drawn=work.drawn,
        left_out=dict(sorted(Counter(work.left_out.values()).items())),
        cut_to_the_context=cut,
    )


def _waves(plans: Sequence[Plan], history: int) -> list[list[_Place]]:
    """Turns that can be asked together: all of them, or with a history those at one depth of their own dialogues."""
    waves: dict[int, list[_Place]] = {}
    for i, plan in enumerate(plans):
        depth = 0
        for turn, opens in enumerate(plan.opens):
            depth = 0 if opens or not history else depth + 1
            waves.setdefault(depth, []).append((i, turn))
    return [waves[depth] for depth in sorted(waves)]


def _answer(
    policy: Policy,
    plans: Sequence[Plan],
    wave: Sequence[_Place],
    work: _Work,
    settings: GattSettings,
    session: Session,
    name: str,
    rounds_done: int,
) -> None:
    """Ask the turns of a wave until each has an answer that is kept, or `attempts` are spent."""
    places: dict[str, _Place] = {}
    open_prompts = []
    for i, turn in wave:
        if settings.history and not plans[i].opens[turn] and (i, turn - 1) not in work.kept:
            work.left_out[i, turn] = DANGLING
            continue
        prompt = _prompt(plans[i], turn, work, i, settings.history)
        places[prompt.id] = (i, turn)
        open_prompts.append(prompt)
    fitting, _ = fitting_prompts(open_prompts, policy, settings.sampling)
    work.left_out |= dict.fromkeys((places[prompt.id] for prompt in open_prompts), NO_ROOM)
    work.asked += len(fitting)
    for attempt in range(settings.attempts):
        if not fitting:
            break
        samples = draw_samples(
            policy,
            fitting,
            num_samples=1,
            sampling=settings.sampling,
            seed=session.seed,
            names=("gatt", name, attempt),
            journal_path=session.folder / JOURNALS / f"{name}-attempt-{attempt + 1}.jsonl",
        )
        work.drawn += len(fitting)
        again = []
        for (prompt, ids), options in zip(fitting, samples, strict=True):
            i, turn = place = places[prompt.id]
            text = policy.tokenizer.decode(options[0].token_ids).strip()
            fault = _fault(plans[i], options[0], text, policy)
            ignored = fault == IGNORES and not settings.keep_only_satisfied and attempt + 1 == settings.attempts
            if fault and not ignored:
                work.left_out[place] = fault
                again.append((prompt, ids))
            else:
                work.left_out.pop(place, None)
                work.kept[place] = text
                work.at_once += attempt == 0 and not fault
        fitting = again
        session.progress.step(rounds_done + attempt + 1, {})
        session.stop.check()


def _prompt(plan: Plan, turn: int, work: _Work, number: int, history: int) -> Dialogue:
    """One user message under the instruction, after the last exchanges of its own dialogue, each under it too."""
    first = turn
    while first > 0 and turn - first < history and not plan.opens[first]:
        first -= 1
    turns: list[Turn] = []
    for at in range(first, turn):
        turns.append(Turn(role="user", content=f"{plan.wording} {plan.user_turns[at]}"))
        turns.append(Turn(role="assistant", content=work.kept[number, at]))
    turns.append(Turn(role="user", content=f"{plan.wording} {plan.user_turns[turn]}"))
    return Dialogue(turns=tuple(turns), source=plan.source, id=f"{plan.id}-turn-{turn + 1}")


def _fault(plan: Plan, sample: Sample, text: str, policy: Policy) -> str:
    """Why an answer is not kept; "" if it is."""
    if sample.finish_reason != "stop":
        return UNFINISHED
    if not text:
        return EMPTY
    if marker_in(text, policy.tokenizer) is not None:
        return MARKER
    return "" if plan.constraint.satisfied(text) else IGNORES


def _leave_out_dangling(plans: Sequence[Plan], work: _Work) -> None:
    """A follow-up whose turn before it was left out asks about what nobody said."""
    for i, plan in enumerate(plans):
        for turn in range(1, len(plan.user_turns)):
            if not plan.opens[turn] and (i, turn) in work.kept and (i, turn - 1) not in work.kept:
                del work.kept[i, turn]
                work.left_out[i, turn] = DANGLING


def _turns_that_fit(plan: Plan, exchanges: Sequence[tuple[str, str]], policy: Policy, context_length: int) -> int:
    if not exchanges:
        return 0
    ends = render_dialogue(training_dialogue(plan, exchanges), policy.tokenizer).turn_ends
    return sum(end <= context_length for end in ends)
