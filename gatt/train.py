"""Ghost Attention as a stage: measure, synthesise, fine-tune, measure again (Llama 2 paper, 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alignment.batch.render import TrainOn
from alignment.constraint import Constraint
from alignment.data.mixing import mix_in
from alignment.errors import DataError
from alignment.given import answered_dialogues, given_records
from alignment.policy.policy import Policy
from alignment.records import Dialogue, Document
from alignment.store.atomic import write_json
from alignment.train.language_model import longest_sequence
from alignment.train.replay import given_replay, replayed_by_share
from alignment.train.session import Session
from alignment.train.sft import fine_tune
from gatt.evaluate import consistency_by_turn
from gatt.result import GattResult
from gatt.settings import GattSettings
from gatt.synthesize import is_synthesised, synthesize_gatt


def _answers_to_train_on(dialogue: Dialogue) -> TrainOn:
    """A synthesised dialogue's last answer (the paper zeroes the loss of the others), a demonstration's every one."""
    return "last" if is_synthesised(dialogue) else "all"


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

    Args:
        policy: fine-tuned in place.
        constraints: what the training dialogues instruct; the evaluation uses the held-out ones too.
        sft_dialogues: demonstrations to mix in (`sft_share`).
        documents: to draw from where `settings.replay` asks for some.

    Returns:
        Consistency by turn before and after (seen and unseen instructions), the synthesis's figures (`gatt.json`
        holds these too), and the fine-tuning's.

    Raises:
        DataError: no synthesised dialogue could be kept, or there is no document to replay.
    """
    dialogues, held_out = (
        given_records(part, name, Dialogue) for part, name in ((dialogues, "dialogues"), (held_out, "held_out"))
    )
    demonstrations = answered_dialogues(sft_dialogues, "sft_dialogues")
    texts = given_replay(documents) if settings.replay is not None else []
    tested = [("seen", constraints)] + ([("unseen", held_out_constraints)] if held_out_constraints else [])
    before = {
        kind: consistency_by_turn(policy, held_out, group, settings, session, name=f"before-{kind}")
        for kind, group in tested
    }
    made, synthesis = synthesize_gatt(policy, dialogues, constraints, settings, session)
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
    context = longest_sequence(policy, settings)
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
        train_on=_answers_to_train_on,
        replayed=replayed,
    )
    after = {
        kind: consistency_by_turn(policy, held_out, group, settings, session, name=f"after-{kind}")
        for kind, group in tested
    }
    result = GattResult(before=before, after=after, synthesis=synthesis, training=tuned)
    write_json(session.folder / "gatt.json", result.evaluation_as_json())
    return result
