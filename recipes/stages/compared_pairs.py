"""The reward models side by side, as a part of the evaluation: each on the held-out pairs of all that were trained, and
version by version on the answers of the model that it judged.

No torch, no pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import PREFERENCES
from recipes.stages.kind import DataSet, Reads

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from recipes.stages.context import StageContext
    from recipes.stages.rlhf_inputs import RewardModels

FILE = "reward_models.json"
VERSIONS_FILE = "reward_versions.json"


@dataclass(frozen=True, kw_only=True)
class ComparedPairs:
    """Comparisons whose held-out part every reward model is measured on; none where there is one model alone.

    Attributes:
        comparisons: role -> what its model was trained on.
        lengths: role -> the longest prompt and answer that its model took, in tokens.
        versions: stage of RLHF -> the reward models that judged it, where they are not the same for all.
    """

    comparisons: Mapping[str, DataSettings] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, RewardModels] = field(default_factory=dict)

    def reads(self) -> Reads:
        """The comparisons and the lengths."""
        lengths = {f"reward.{role}.context_length": length for role, length in self.lengths.items()}
        return {**{f"reward.{role}.data": data for role, data in self.comparisons.items()}, **lengths}

    def data(self) -> tuple[DataSet[Any], ...]:
        """One data set per role."""
        return tuple(self._by_role().values())

    def measure(self, judges: RewardModels | None, stage: StageContext) -> None:
        """Score the pairs with every model; saves `reward_models.json`, and of several versions' models
        `reward_versions.json`."""
        self._tell_versions(stage)
        sources = judges.scoring() if judges is not None else {}
        if len(sources) < 2 or not self.comparisons:
            return
        from alignment.store.atomic import write_json
        from alignment.train.compute import resolve_compute
        from reward.compare import compare_models

        found = compare_models(
            {role: stage.reward(source) for role, source in sources.items()},
            {role: stage.read(data).held_out for role, data in self._by_role().items()},
            stage.tokenizer(),
            resolve_compute(stage.session.compute),
            context_length=min(self.lengths.values()),
        )
        if found.accuracy:
            write_json(stage.session.folder / FILE, found.as_json())

    def _tell_versions(self, stage: StageContext) -> None:
        """What each version's models came to on their held-out pairs, the newest model's own answers."""
        if not self.versions:
            return
        from alignment.store.atomic import write_json

        told = [
            {
                "version": version,
                "accuracy": {
                    role: stage.result_of(source.stage)["evaluation"]["accuracy"]
                    for role, source in judges.by_role().items()
                    if source.stage is not None
                },
            }
            for version, judges in self.versions.items()
        ]
        write_json(stage.session.folder / VERSIONS_FILE, told)

    def _by_role(self) -> dict[str, DataSet[Any]]:
        return {
            role: DataSet(key=f"reward.{role}", settings=comparisons, records=PREFERENCES)
            for role, comparisons in self.comparisons.items()
        }
