"""Ghost Attention data (Llama 2 paper, 3.3).

1. take user turns and one instruction;
2. put the instruction before *every* user message and sample the answers with the current chat model;
3. for training keep it only at the start (as the system message), half of the time written tersely;
4. loss on the last answer only, since the earlier ones were made under repeated instructions.
"""

from __future__ import annotations

from collections.abc import Sequence

from alignment.constraint import Constraint
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.generate.settings import SamplingSettings
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Turn
from alignment.text.chat import marker_in
from alignment.train.language_model import longest_sequence
from alignment.train.session import Session
from gatt.compose import compose_gatt
from gatt.plan import Plan, training_dialogue, training_plans
from gatt.result import Synthesis
from gatt.settings import GattSettings


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


def synthesize_gatt(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
) -> tuple[list[Dialogue], Synthesis]:
    """Make GAtt's training dialogues with the current chat model: held as a whole (the paper's way), or turn by turn.

    Returns:
        Dialogues with the instruction as system message only (train them with loss on the last answer),
        and figures: planned, kept, share of last answers that follow the instruction.
    """
    plans = training_plans(dialogues, constraints, settings, seed=session.seed)
    if settings.compose == "turns":
        context = longest_sequence(policy, settings)
        return compose_gatt(policy, plans, settings, session, context_length=context, name="synthesis")
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
