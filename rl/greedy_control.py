"""A control for RLHF: version by version, the model fine-tuned on its own greedy answers, with no reward at all.

Fine-tuning on what a model says most readily sharpens it, and much of what rejection sampling seems to gain in its
first version is that.  This control answers the prompts of each version, greedily, and trains on the answers with the
same documents, settings and number of rounds; what the versions have over it, the choice by reward has brought.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from alignment.errors import DataError
from alignment.generate.draw import JOURNALS, draw_samples, fitting_prompts
from alignment.given import given_prompts
from alignment.policy.policy import Policy, load_policy, save_policy
from alignment.records import Dialogue, Document
from alignment.store.atomic import write_json
from alignment.text.chat import marker_in
from alignment.train.compute import resolve_compute
from alignment.train.language_model import longest_sequence, train_language_model
from alignment.train.replay import given_replay, replayed_by_share
from alignment.train.result import TrainingResult
from alignment.train.session import Session
from rl.kept import Kept, kept_tree
from rl.rejection import choose_prompts, replay_names
from rl.settings import RejectionSettings

ROUND_FILE = "round.json"


def train_greedy_control(
    policy: Policy,
    prompts: Iterable[Dialogue],
    versions: Sequence[int],
    settings: RejectionSettings,
    session: Session,
    documents: Iterable[Document] = (),
) -> TrainingResult:
    """Train a policy for as many rounds as there are versions; saves `checkpoint/` in the session's folder.

    Each round has a folder of its own, `round-N/`; one that is finished is not run again.

    Args:
        prompts: all training prompts; every round asks those that the version of its number asked.
        versions: their numbers, from 1; name the draws.
        settings: the versions': prompts, limit of an answer, optimizer, documents.
        documents: all that the versions drew from; the same ones are drawn.

    Returns:
        The steps, tokens, seconds, dialogues and documents of all rounds.

    Raises:
        UsageError: what is given holds no dialogues, or no documents.
        DataError: there is no version, no prompt fits the context, or no greedy answer ends.
    """
    asked = given_prompts(prompts, "prompts")
    texts = given_replay(documents) if settings.replay is not None else []
    if not versions:
        raise DataError("a control needs the versions that it is held against; there is none")
    results: list[TrainingResult] = []
    for version in versions:
        own = Session(
            session.folder / f"round-{version}",
            seed=session.seed,
            fingerprint=session.fingerprint,
            compute=session.compute,
            progress=session.progress,
            stop=session.stop,
            before_save=session.before_save,
        )
        if (finished := _finished(own)) is None:
            finished = _round(policy, asked, texts, settings, own, version)
            write_json(own.folder / ROUND_FILE, {"fingerprint": own.fingerprint, "result": asdict(finished)})
        results.append(finished)
        policy = load_policy(own.folder / "checkpoint")
    meta = {"stage": "control-greedy", "fingerprint": session.fingerprint}
    save_policy(policy, session.folder / "checkpoint", meta=meta)
    return _together(results)


def _finished(session: Session) -> TrainingResult | None:
    """What a finished round of the same fingerprint came to."""
    path = session.folder / ROUND_FILE
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return TrainingResult(**found["result"]) if found["fingerprint"] == session.fingerprint else None


def _round(
    policy: Policy,
    prompts: Sequence[Dialogue],
    documents: Sequence[Document],
    settings: RejectionSettings,
    session: Session,
    version: int,
) -> TrainingResult:
    chosen = choose_prompts(prompts, settings.prompts_per_version, seed=session.seed, version=version)
    fitting, _ = fitting_prompts(chosen, policy, settings.sampling)
    if not fitting:
        raise DataError(f"round {version}: none of {len(chosen)} prompts leaves room for an answer in the context")
    resolve_compute(session.compute).place(policy.model)
    session.progress.begin(None, "samples")
    samples = draw_samples(
        policy,
        fitting,
        num_samples=1,
        sampling=settings.sampling.greedy(),
        seed=session.seed,
        names=("control-greedy", version),
        journal_path=session.folder / JOURNALS / "greedy.jsonl",
    )
    session.progress.end()
    session.stop.check()
    context = longest_sequence(policy, settings)
    trees = []
    for (prompt, _), (sample,) in zip(fitting, samples, strict=True):
        text = policy.tokenizer.decode(sample.token_ids).strip()
        if sample.finish_reason != "stop" or not text or marker_in(text, policy.tokenizer) is not None:
            continue  # as rejection sampling keeps none of these
        said = Kept(
            prompt_id=prompt.id,
            answer=text,
            version=version,
            helpfulness=0.0,
            safety=None,
            combined=0.0,
            token_ids=sample.token_ids,
        )
        trees.append(kept_tree(prompt, said, policy.tokenizer, context))
    if not trees:
        raise DataError(f"round {version}: none of {len(fitting)} greedy answers ends; raise max_new_tokens")
    replayed = replayed_by_share(
        documents, settings.replay, trees, policy.tokenizer, context, seed=session.seed, names=replay_names(version)
    )
    result = train_language_model(
        policy, [*trees, *replayed.trees], (), settings, session, f"control-greedy-v{version}"
    )
    return replace(result, counts={"dialogues": len(trees), **replayed.counts})


def _together(results: Sequence[TrainingResult]) -> TrainingResult:
    counts: dict[str, int] = {}
    for result in results:
        for name, count in result.counts.items():
            counts[name] = counts.get(name, 0) + count
    return replace(
        results[-1],
        steps=sum(result.steps for result in results),
        tokens=sum(result.tokens for result in results),
        seconds=math.fsum(result.seconds for result in results),
        counts=counts,
    )
