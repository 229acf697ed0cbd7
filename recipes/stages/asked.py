"""What the evaluation asks, who answers, and who judges the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignment.evaluate.versions import Version
    from alignment.judging import Judge
    from alignment.records import Dialogue
    from recipes.stages.context import StageContext
    from recipes.stages.evaluate_inputs import EvaluateInputs


def asked_prompts(inputs: EvaluateInputs, stage: StageContext) -> dict[str, Sequence[Dialogue]]:
    """A fixed draw by campaign of prompts that no stage has looked at."""
    from alignment.evaluate.versions import choose_held_out

    counts = {"helpfulness": inputs.settings.num_prompts, "safety": inputs.settings.num_safety_prompts}
    asked: dict[str, list[Dialogue]] = {campaign: [] for campaign in counts}
    if inputs.prompts is not None:
        for prompt in stage.load_campaigns(inputs.prompts.data(), with_test=True).test:
            asked[str(prompt.meta["campaign"])].append(prompt)
    else:
        for data in inputs.asked():
            asked["helpfulness"] += [dialogue.prompt() for dialogue in stage.read(data, with_test=True).test]
    return {
        campaign: choose_held_out(prompts, counts[campaign], seed=stage.session.seed, name=campaign)
        for campaign, prompts in asked.items()
        if prompts or (campaign == "helpfulness" and inputs.demonstrations is not None)
    }


def asked_versions(inputs: EvaluateInputs, stage: StageContext) -> list[Version]:
    """The models that answer: the checkpoint in `model.path` where it is one, the versions, the controls."""
    from alignment.evaluate.versions import Version
    from alignment.policy.folder import checkpoint_folder
    from recipes.stages.own_answers import START

    versions = [
        Version(name=name, checkpoint=stage.folder_of(name) / "checkpoint", control=name in inputs.controls)
        for name in (*inputs.versions, *inputs.controls)
    ]
    if inputs.with_start and inputs.model is not None and inputs.model.path is not None:
        start = checkpoint_folder(inputs.model.path, inputs.model.revision)
        versions.insert(0, Version(name=START, checkpoint=start))
    return versions


def judges_of(inputs: EvaluateInputs, stage: StageContext, prompts: Mapping[str, Sequence[Dialogue]]) -> list[Judge]:
    """The reward models, the watch model, the world's gold judge, an outside judge: whichever there are."""
    judges: list[Judge] = []
    if inputs.judges is not None:
        rewards = inputs.judges.open(stage)
        judges.append(rewards)
        if rewards.watch is not None:
            from rl.watch import WatchJudge

            judges.append(WatchJudge(judges=rewards))
    if (gold := stage.gold_judge(prompts)) is not None:
        judges.append(gold)
    if inputs.settings.endpoint is not None:
        from alignment.evaluate.endpoint import EndpointJudge

        judges.append(EndpointJudge(inputs.settings.endpoint, stage.session))
    return judges
