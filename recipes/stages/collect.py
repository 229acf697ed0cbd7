"""Stage `collect`: pairs of the policy's own answers, compared and graded, for reward models (Llama 2 paper, 3.2.1)."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import UsageError
from recipes.stages.doubts import collect_doubts
from recipes.stages.kind import DataSet, FromPolicy, Lens, Makes, Prepared, Reads, Size, StageKind
from recipes.stages.rlhf_inputs import CampaignPrompts

if TYPE_CHECKING:
    from alignment.annotate.annotator import Annotator
    from alignment.annotate.settings import CollectSettings
    from alignment.report.blocks import Section
    from recipes.stages.context import StageContext
    from rl.settings import VersionCollectSettings

START = "start"  # what the records call the checkpoint that the run began with


@dataclass(frozen=True, kw_only=True)
class CollectInputs(FromPolicy):
    """All that the stage reads of the recipe.

    Attributes:
        variants: the stages whose policies answer; none: the checkpoint that the run begins with.
        later: "v2", … names the draw of a later version's prompts; "" is the first's.
        earlier: the stages that collected for earlier versions.
        said: what the recipe says of later versions' collections, which `settings` obey already.
    """

    settings: CollectSettings
    variants: tuple[str, ...] = ()
    later: str = ""
    earlier: tuple[str, ...] = ()
    said: VersionCollectSettings | None = None

    @property
    def prompts(self) -> CampaignPrompts:
        """The prompts by campaign."""
        settings = self.settings
        return CampaignPrompts(helpfulness=settings.prompts, safety=settings.safety_prompts, section="collect")

    def reads(self) -> Reads:
        """The section."""
        later = {"rlhf.collect": self.said} if self.said is not None else {}
        return {**super().reads(), "collect": self.settings, **later}

    def data(self) -> tuple[DataSet[Any], ...]:
        """The prompts by campaign."""
        return self.prompts.data()

    def annotators(self) -> tuple[str, ...]:
        """The world's, people, or the endpoint's model."""
        who = self.settings.annotator
        return (who if isinstance(who, str) else who.model,)


def run(inputs: CollectInputs, stage: StageContext) -> dict[str, Any]:
    """Draw, pair and compare; saves `records.jsonl`, `collect.json` and `unjudged.jsonl`."""
    from functools import partial

    from alignment.annotate.collect import collect_preferences, read_collected

    annotator = _annotator(inputs, stage)  # before anything is drawn: a key may be missing
    prompts = stage.load_campaigns(inputs.data())
    policies = {name: partial(stage.policy_of, name) for name in inputs.variants}
    return collect_preferences(
        policies or {START: stage.start},
        prompts.train,
        annotator,
        inputs.settings,
        stage.session,
        held_out=prompts.validation,
        name=inputs.later,
        earlier=[record for name in inputs.earlier for record in read_collected(stage.folder_of(name))],
    ).as_json()


def _annotator(inputs: CollectInputs, stage: StageContext) -> Annotator:
    from alignment.annotate.settings import PEOPLE
    from alignment.evaluate.settings import EndpointSettings

    who = inputs.settings.annotator
    if isinstance(who, EndpointSettings):
        from alignment.annotate.outside import EndpointAnnotator

        return EndpointAnnotator(who, stage.session.stop)
    if who == PEOPLE:
        from alignment.annotate.people.annotator import PeopleAnnotator

        return PeopleAnnotator(stage.session, ask=f"align annotate {shlex.quote(str(stage.session.folder.parent))}")
    if stage.world is None:
        raise UsageError("collect.annotator is world, but the recipe has no section world; name people or an endpoint")
    from alignment.annotate.town import TownAnnotators

    return TownAnnotators(stage.world, seed=stage.session.seed)


def prepare(inputs: CollectInputs, lens: Lens) -> tuple[Prepared, ...]:
    """Prompts that leave room for an answer, as they are drawn."""
    return inputs.prompts.prepare(lens, inputs.settings.sampling(inputs.settings.temperatures[0]))


def size(inputs: CollectInputs) -> Size:
    """Answers drawn and pairs compared."""
    settings = inputs.settings
    counts = [settings.num_prompts]
    if settings.safety_prompts is not None:
        counts.append(settings.num_safety_prompts)
    prompts = " + ".join(f"{count:,}" if count else "all" for count in counts)
    ways = max(1, len(inputs.variants)) * len(settings.temperatures)
    return Size(first=f"{prompts} prompts × {ways * settings.answers} answers, {settings.pairs_per_prompt} pairs each")


def doubts(inputs: CollectInputs, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Answers that are mostly cut, pairs that are mostly the same, a judge that obeys answers."""
    return tuple(collect_doubts(result))


def section(inputs: CollectInputs, folder: Path, name: str, result: Mapping[str, Any]) -> Section:
    """Its chapter of the page."""
    from alignment.annotate.report import section as collect_section

    found = collect_section(stage=name, result=result, prices=inputs.settings.prices)
    if not inputs.later:
        return found
    return dataclasses.replace(found, title=f"{found.title}: {inputs.later}", folded=True)  # one is shown, others fold


COLLECT = StageKind(
    name="collect",
    does="Draw pairs of the policy's answers and have them compared",
    run=run,
    section=section,
    size=size,
    prepare=prepare,
    doubts=doubts,
    shown=("records",),
    makes=frozenset({Makes.RECORDS}),
)
