"""Comparisons accumulate over the versions of RLHF: what a refreshed reward model reads.  No torch.

Llama 2 paper, 3.2.1 and 3.2.2: each week's comparisons are of the newest model's answers, and the reward models are
trained anew on all of them, since a model that judges answers of another kind than it learnt from judges badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alignment.annotate.settings import CollectSettings
from alignment.data.settings import DataSettings, SourceSettings
from recipes.stages.collect import COLLECT
from rl.settings import VersionCollectSettings

FIRST = COLLECT.name  # the stage whose comparisons a recipe's sources name


def reads_collected(data: DataSettings) -> bool:
    """Whether a model is trained on what the run collects."""
    return any(source.stage == FIRST for source in data.train)


def collected_by_version(
    first: CollectSettings, later: VersionCollectSettings, *, temperature: float | None
) -> CollectSettings:
    """How a version after the first collects: as the section `collect`, but for what is said of later ones.

    Args:
        temperature: PPO's, of a collection before it; None: as `later` or `first` says.
    """
    said = {name: value for name, value in later.model_dump().items() if name != "older_share" and value is not None}
    if temperature is not None:
        # as many answers as at all temperatures together
        answers = said.get("answers", first.answers) * len(said.get("temperatures", first.temperatures))
        said |= {"temperatures": (temperature,), "answers": answers}
    return CollectSettings.model_validate(first.model_dump() | said | {"variants": ()})


def accumulated(data: DataSettings, collections: Sequence[str], older_share: float) -> DataSettings:
    """A reward model's data at a later version.

    To train on: of every source `{stage: collect}` the newest collection whole, and of the earlier ones and of all
    other sources a share.  Held out: the newest collection's, so that accuracy is that on the newest model's answers.

    Args:
        data: what the recipe says, of the first version.
        collections: the stages that collected so far, the oldest first, `collect` among them.
        older_share: the share of everything but the newest comparisons; 0 leaves it out.
    """
    *older, newest = collections

    def fewer(source: SourceSettings) -> SourceSettings:
        return source.model_copy(update={"share": source.share * older_share})

    def trained(sources: Iterable[SourceSettings]) -> tuple[SourceSettings, ...]:
        found: list[SourceSettings] = []
        for source in sources:
            if source.stage == FIRST:
                found.append(source.model_copy(update={"stage": newest}))
                found += [fewer(source.model_copy(update={"stage": name})) for name in older if older_share]
            elif older_share:
                found.append(fewer(source))
        return tuple(found)

    mix = data.mix
    if mix is not None:
        mix = mix.model_copy(update={"sources": trained(mix.sources)}) if trained(mix.sources) else None
    held_out = tuple(s.model_copy(update={"stage": newest}) if s.stage == FIRST else s for s in data.held_out)
    return data.model_copy(update={"train": trained(data.train), "mix": mix, "held_out": held_out})
