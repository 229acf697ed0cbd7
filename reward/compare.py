"""Reward models side by side: each on the held-out pairs of all of them, and how far they agree (Llama 2, table 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignment.records import LabelledAnswer, Preference
from alignment.train.compute import Compute
from reward.evaluate import score_examples, scored_pairs
from reward.measure.agreement import agreement
from reward.measure.scored import ScoredPairs
from reward.model import RewardModel
from reward.preferences import prepare_pairs
from reward.result import ModelComparison, Share


def compare_models(
    models: Mapping[str, RewardModel],
    held_out: Mapping[str, Sequence[Preference | LabelledAnswer]],
    compute: Compute,
    *,
    context_length: int,
) -> ModelComparison:
    """Score every set of held-out pairs with every model.

    Args:
        models: by name; all have one tokenizer.
        held_out: by the name of the set; single labelled answers do not count.
        context_length: longer pairs are left out, for all models alike.
    """
    accuracy: dict[str, dict[str, Share]] = {}
    agreements = {}
    for name, records in held_out.items():
        pairs = [record for record in records if isinstance(record, Preference)]
        tokenizer = next(iter(models.values())).tokenizer
        examples = prepare_pairs(pairs, tokenizer, margin="none", context_length=context_length).examples
        if not examples:
            continue
        scored = {
            model: scored_pairs(examples, score_examples(judge, examples, compute)) for model, judge in models.items()
        }
        for model, found in scored.items():
            for group, share in _by_source(name, found).items():
                accuracy.setdefault(group, {})[model] = share
        first, *others = scored.values()
        if others and (agreed := agreement(first, others[0])) is not None:
            agreements[name] = agreed
    return ModelComparison(accuracy=accuracy, agreement=agreements)


def _by_source(name: str, pairs: ScoredPairs) -> dict[str, Share]:
    """The whole set, and each source of it where there are several."""
    shares = pairs.accuracy({group: rows for group, rows in pairs.groups.items() if not group.startswith("grade:")})
    found = {name: shares["all"]}
    sources = {group.removeprefix("source:"): share for group, share in shares.items() if group.startswith("source:")}
    if len(sources) > 1:
        found |= {f"{name}: {source}": share for source, share in sorted(sources.items())}
    return found
