"""Ghost Attention as a stage: measure, synthesise, fine-tune, measure again (Llama 2 paper, 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from alignment.constraint import Constraint
from alignment.data.mixing import mix_in
from alignment.errors import DataError
from alignment.given import answered_dialogues, given_records
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document
from alignment.store.atomic import write_json
from alignment.text.chat import render_dialogue
from alignment.train.language_model import longest_sequence
from alignment.train.replay import given_replay, replayed_by_share
from alignment.train.session import Session
from alignment.train.sft import fine_tune
from gatt.attention import can_be_read, instruction_attention
from gatt.compose import compose_gatt
from gatt.evaluate import changed_midway, consistency, consistency_by_kind, hold_held_out
from gatt.groups import SEEN, group_constraints
from gatt.plan import is_synthesised, plan_dialogues
from gatt.result import GattResult, Measured, Synthesis
from gatt.settings import GattSettings
from gatt.synthesize import synthesize_gatt


def train_gatt(
    policy: Policy,
    dialogues: Iterable[Dialogue],
    held_out: Iterable[Dialogue],
    constraints: Sequence[Constraint],
    held_out_constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    sft_dialogues: Iterable[Dialogue] = (),
    documents: Iterable[Document] = (),
) -> GattResult:
    """Teach a chat model to keep an instruction over many turns, and save it to `checkpoint/`.

    The loss is on each synthesised dialogue's last answer, as in the paper, whose earlier answers were made under
    repeated instructions; `loss_on: all` (ours) trains them too where each was checked (`compose: turns`).  A
    demonstration is trained on every answer.

    Args:
        policy: fine-tuned in place.
        constraints: what the training dialogues instruct; the evaluation uses the held-out ones too.
        sft_dialogues: demonstrations to mix in (`sft_share`).
        documents: to draw from where `settings.replay` asks for some.

    Returns:
        Consistency by turn before and after (seen and unseen instructions, or by group), what else was asked for, the
        synthesis's figures (`gatt.json` holds these too), and the fine-tuning's.

    Raises:
        DataError: no synthesised dialogue could be kept, or there is no document to replay.
    """
    dialogues, held_out = (
        given_records(part, name, Dialogue) for part, name in ((dialogues, "dialogues"), (held_out, "held_out"))
    )
    demonstrations = answered_dialogues(sft_dialogues, "sft_dialogues")
    texts = given_replay(documents) if settings.replay is not None else []
    tested = tested_groups(constraints, held_out_constraints, settings, session.seed)
    context = longest_sequence(policy, settings)
    to_read = _dialogues_to_read(policy, held_out, constraints, settings, session, context)
    before = measure(policy, held_out, tested, settings, session, name="before", to_read=to_read)
    made, synthesis = _synthesise(policy, dialogues, constraints, settings, session, context)
    if not made:
        raise DataError(
            f"GAtt kept none of {synthesis.planned} dialogues: the model follows no instruction even when "
            f"it is repeated (share {synthesis.follow_share:.2f}); train it further, or set "
            f"gatt.keep_only_satisfied: false"
        )
    mixed = mix_in(
        made,
        demonstrations,
        settings.sft_share,
        seed=session.seed,
        names=("gatt-mix",),
    )
    replayed = replayed_by_share(
        texts, settings.replay, made, policy.tokenizer, context, seed=session.seed, names=("gatt-replay",)
    )
    tuned = fine_tune(
        policy,
        mixed,
        settings,
        session,
        name="gatt",
        too_long="drop",
        train_on=lambda dialogue: settings.loss_on if is_synthesised(dialogue) else "all",
        replayed=replayed,
    )
    after = measure(policy, held_out, tested, settings, session, name="after", to_read=to_read)
    more = {name: model.extras() for name, model in (("before", before), ("after", after)) if model.extras()}
    result = GattResult(before=before.kept, after=after.kept, synthesis=synthesis, training=tuned, more=more)
    write_json(session.folder / "gatt.json", result.evaluation_as_json())
    return result


def tested_groups(
    constraints: Sequence[Constraint], held_out: Sequence[Constraint], settings: GattSettings, seed: int
) -> dict[str, Sequence[Constraint]]:
    """What is measured with: seen and unseen instructions, or the groups where they are asked for."""
    if settings.evaluation_groups:
        return {**group_constraints(constraints, held_out, combine_share=settings.combine, seed=seed)}
    return {SEEN: constraints, **({"unseen": held_out} if held_out else {})}


def measure(
    policy: Policy,
    held_out: Sequence[Dialogue],
    tested: Mapping[str, Sequence[Constraint]],
    settings: GattSettings,
    session: Session,
    *,
    name: str,
    to_read: Sequence[Dialogue] = (),
) -> Measured:
    """One model: consistency by turn of every group, and by kind, after a change, and attention as far as asked for."""
    held = {
        group: hold_held_out(
            policy, held_out, instructions, settings, session, name=f"{name}-{group.replace(' ', '-')}"
        )
        for group, instructions in tested.items()
    }
    changed = None
    if settings.evaluation_change:
        changed = changed_midway(policy, held_out, tested[SEEN], settings, session, name=f"{name}-changed")
    return Measured(
        kept={group: consistency(dialogues) for group, dialogues in held.items()},
        by_kind=consistency_by_kind(held) if settings.evaluation_groups else (),
        changed=changed,
        attention=instruction_attention(policy, to_read) if to_read else None,
    )


def _synthesise(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    context: int,
) -> tuple[list[Dialogue], Synthesis]:
    """The training dialogues; says how many come to all turns within the context, before any training."""
    made, synthesis = synthesize_gatt(policy, dialogues, constraints, settings, session)
    lengths = [len(render_dialogue(dialogue, policy.tokenizer).token_ids) for dialogue in made]
    reach = sum(
        len(dialogue.turns) == 2 * settings.turns and length <= context
        for dialogue, length in zip(made, lengths, strict=True)
    )
    if made and reach < len(made):
        session.progress.note(
            f"{reach:,} of the {len(made):,} dialogues to train on come to all {settings.turns} turns within the "
            f"context of {context:,} tokens; {sum(length > context for length in lengths):,} are longer and left out"
        )
    return made, synthesis


def _dialogues_to_read(
    policy: Policy,
    held_out: Sequence[Dialogue],
    constraints: Sequence[Constraint],
    settings: GattSettings,
    session: Session,
    context: int,
) -> list[Dialogue]:
    """Held-out dialogues in which every answer keeps the instruction: both models read the same text.

    They are composed turn by turn with the model before training, whatever `compose` says, and are never trained on;
    none where the model keeps no instruction, or is not the core.
    """
    if not settings.attention_dialogues or not can_be_read(policy):
        return []
    plans = plan_dialogues(
        held_out,
        constraints,
        count=settings.attention_dialogues,
        turns=settings.evaluation_turns,
        shorten_fraction=0.0,
        seed=session.seed,
        name="attention",
    )
    checked = settings.model_copy(update={"keep_only_satisfied": True})
    return compose_gatt(policy, plans, checked, session, context_length=context, name="attention")[0]
