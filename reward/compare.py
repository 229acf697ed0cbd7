"""Reward models side by side: each on the held-out pairs of all of them, and how far they agree (Llama 2, table 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from alignment.batch.render import answer_tree
from alignment.errors import DataError
from alignment.records import Answer, Dialogue, LabelledAnswer, Preference
from alignment.text.chat import answer_ids, render_prompt
from alignment.text.tokenizer import Tokenizer
from alignment.train.compute import Compute
from reward.evaluate import scored_pairs
from reward.measure.agreement import agreement
from reward.measure.scored import ScoredPairs
from reward.preferences import PairExample, source_name
from reward.result import ModelComparison, Share
from reward.scorer import Scorer


def compare_models(
    models: Mapping[str, Scorer],
    held_out: Mapping[str, Sequence[Preference | LabelledAnswer]],
    tokenizer: Tokenizer,
    compute: Compute,
    *,
    context_length: int,
) -> ModelComparison:
    """Score every set of held-out pairs with every model.

    Args:
        models: by name; trained ones, brought ones, functions.
        held_out: by the name of the set; single labelled answers do not count.
        tokenizer: of all of them that read token ids.
        context_length: longer pairs are left out, for all models alike.

    Raises:
        DataError: a model gives an answer a score that is no finite number.
    """
    accuracy: dict[str, dict[str, Share]] = {}
    agreements = {}
    for name, records in held_out.items():
        answers = [_answers(record, tokenizer, context_length) for record in records if isinstance(record, Preference)]
        pairs = [pair for pair in answers if pair is not None]
        if not pairs:
            continue
        scored = {model: _scored(model, judge, pairs, compute) for model, judge in models.items()}
        for model, found in scored.items():
            for group, share in _by_source(name, found).items():
                accuracy.setdefault(group, {})[model] = share
        first, *others = scored.values()
        if others and (agreed := agreement(first, others[0])) is not None:
            agreements[name] = agreed
    return ModelComparison(accuracy=accuracy, agreement=agreements)


_Pair = tuple[PairExample, Answer, Answer]


def _answers(record: Preference, tokenizer: Tokenizer, context_length: int) -> _Pair | None:
    """A pair as answers that any scorer reads, and as an example; None where one of them is too long."""
    prompt = render_prompt(record.prompt, tokenizer)
    ids = [answer_ids(text, tokenizer, f"{record.source}: an answer") for text in (record.chosen, record.rejected)]
    if len(prompt) + max(map(len, ids)) > context_length:
        return None
    example = PairExample(
        tree=answer_tree(prompt, ids, row=str(record.source)),
        margin=0.0,
        chosen_safe=record.chosen_safe,
        rejected_safe=record.rejected_safe,
        grade=record.grade,
        source=source_name(record.source.file),
    )
    chosen, rejected = (
        _answer(record.prompt, prompt, own, text, tokenizer)
        for own, text in zip(ids, (record.chosen, record.rejected), strict=True)
    )
    return example, chosen, rejected


def _answer(dialogue: Dialogue, prompt: Sequence[int], ids: Sequence[int], text: str, tokenizer: Tokenizer) -> Answer:
    return Answer(
        dialogue=dialogue, prompt_ids=tuple(prompt), token_ids=tuple(ids), text=text, tokenizer=tokenizer.sha256
    )


def _scored(model: str, judge: Scorer, pairs: Sequence[_Pair], compute: Compute) -> ScoredPairs:
    found = judge.score_answers([answer for _, *both in pairs for answer in both], compute)
    for at, score in enumerate(found):
        if not math.isfinite(score):
            place = pairs[at // 2][0].rows[0]
            raise DataError(f"{place}: the {model} model scores an answer {score}; a finite number is needed")
    scores = list(zip(found[::2], found[1::2], strict=True))
    return scored_pairs([example for example, _, _ in pairs], scores)


def _by_source(name: str, pairs: ScoredPairs) -> dict[str, Share]:
    """The whole set, and each source of it where there are several."""
    shares = pairs.accuracy({group: rows for group, rows in pairs.groups.items() if not group.startswith("grade:")})
    found = {name: shares["all"]}
    sources = {group.removeprefix("source:"): share for group, share in shares.items() if group.startswith("source:")}
    if len(sources) > 1:
        found |= {f"{name}: {source}": share for source, share in sorted(sources.items())}
    return found
