"""What the evaluation reads of the recipe: who answers what, who judges, what is measured beside it.

No torch, no pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alignment.data.record_types import DIALOGUES
from recipes.stages.compared_pairs import ComparedPairs
from recipes.stages.instructed import instructed_data
from recipes.stages.kind import DataSet, Reads
from recipes.stages.rlhf_inputs import Judged

if TYPE_CHECKING:
    from alignment.data.settings import DataSettings
    from alignment.evaluate.compared import Compared
    from alignment.evaluate.settings import EvaluateSettings
    from recipes.stages.rlhf_inputs import CampaignPrompts, RewardModels


@dataclass(frozen=True, kw_only=True)
class EvaluateInputs(Judged):
    """All that the stage reads of the recipe; the model's section always (as in every release so far).

    Attributes:
        versions: the stages whose models answer.
        with_start: whether the checkpoint in `model.path` answers too; without SFT it is what the versions came from.
        prompts: held-out prompts by campaign; without them the held-out demonstrations' are asked.
        demonstrations: read only where there are no prompts.
        answering: models on whose own answers the reward models are measured, where the settings ask for that.
        learnt_from: model -> the reward models that learnt from its answers, where these are not `judges`.
        pairs: comparisons on whose held-out part the reward models stand side by side.
        controls: models that stand beside the versions and are none.
        compared: the two models of the page's first sentence; no part of the figures.
    """

    settings: EvaluateSettings
    versions: tuple[str, ...]
    controls: tuple[str, ...] = ()
    answering: tuple[str, ...] = ()
    learnt_from: Mapping[str, RewardModels] = field(default_factory=dict)
    with_start: bool = False
    compared: Compared | None = None
    prompts: CampaignPrompts | None = None
    demonstrations: DataSettings | None = None
    pairs: ComparedPairs = field(default_factory=ComparedPairs)

    def reads(self) -> Reads:
        """The section, and where the prompts come from."""
        found: dict[str, Any] = {**super().reads(), "evaluate": self.settings}
        if self.with_start:
            found["evaluate.with_start"] = True
        if self.prompts is not None:
            found |= self.prompts.reads()
            found["rlhf.combination"] = self.judges.combination if self.judges is not None else None
        elif self.demonstrations is not None:
            found["sft.data"] = self.demonstrations
        return {**found, **self.pairs.reads(), **(self.judges.reads() if self.judges is not None else {})}

    def data(self) -> tuple[DataSet[Any], ...]:
        """What is asked, the reward models' comparisons, and the dialogues under instructions."""
        asked = self.settings.instructions
        instructed = (instructed_data(asked),) if asked is not None else ()
        return (*self.asked(), *self.pairs.data(), *instructed)

    def constraints(self) -> dict[str, str]:
        """Those under which every version holds dialogues."""
        asked = self.settings.instructions
        return {"evaluate.instructions.constraints": asked.constraints} if asked is not None else {}

    @property
    def held_against(self) -> str | None:
        """The model with whose answers an outside watch model compares the others', so that it is asked first."""
        outside = self.judges is not None and self.judges.outside_watch is not None
        return self.compared.before if outside and self.compared is not None else None

    def asked(self) -> tuple[DataSet[Any], ...]:
        """Prompts by campaign, or demonstrations."""
        if self.prompts is not None:
            return self.prompts.data()
        if self.demonstrations is not None:
            return (DataSet(key="sft", settings=self.demonstrations, records=DIALOGUES),)
        return ()
