"""What a stage's function is given beside its inputs: its session, its parents' folders, and how to open what is there.

No recipe: what a stage may read of it stands in its inputs.  No torch until a method is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from alignment.errors import DataError, SettingError, UsageError
from alignment.store.atomic import write_json
from recipes.stages.kind import DataSet, FromPolicy, PlannedStage

if TYPE_CHECKING:
    from alignment.data.corpus import Loaded
    from alignment.data.split import Split
    from alignment.policy.policy import Policy
    from alignment.records import Dialogue, Document
    from alignment.text.tokenizer import Tokenizer
    from alignment.train.session import Session
    from alignment.world import World
    from alignment.world.judge.gold import GoldJudge
    from recipes.stages.replayed import Replay
    from recipes.stages.rlhf_inputs import Campaigns, RewardModels, RewardSource
    from reward.scorer import Scorer
    from rl.judges import RewardJudges
    from rl.outside_watch import EndpointWatch

R = TypeVar("R")
_DATA, _QUARANTINE, _REPLAY = "data.json", "quarantine", "replay"


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage about to run.

    Attributes:
        stage: its place in the plan.
        session: its folder, seed, fingerprint, progress and stop flag.
        folders: each parent's folder by name.
        write_page: writes the run's page and returns its path relative to the run.
        allow_code: whether whoever runs allowed functions that the recipe names.
        results: a finished stage's result by its name.
    """

    stage: PlannedStage
    session: Session
    folders: Mapping[str, Path]
    write_page: Callable[[], str]
    allow_code: bool = False
    results: Callable[[str], Mapping[str, Any]] = lambda name: {}

    def folder_of(self, name: str) -> Path:
        """A finished parent's folder.

        Raises:
            UsageError: the stage is not a parent, so that the plan would not know of the dependence.
        """
        if name not in self.folders:
            raise UsageError(
                f"stage {self.stage.name} asks for the folder of {name}, which is none of its parents "
                f"({', '.join(self.folders) or 'none'})"
            )
        return self.folders[name]

    def result_of(self, name: str) -> Mapping[str, Any]:
        """A finished parent's result, as its `stage.json` holds it.

        Raises:
            UsageError: the stage is not a parent.
        """
        self.folder_of(name)
        return self.results(name)

    @cached_property
    def world(self) -> World | None:
        """The embedded world, built once; None where the inputs have none."""
        if self.stage.inputs.world is None:
            return None
        from alignment.world import open_world

        return open_world(self.stage.inputs.world)

    @cached_property
    def split(self) -> Split | None:
        """The run's split, with what its sections hold out by name; read once.  None where the inputs have none."""
        apart = self.stage.inputs.apart
        return apart.open(self.session.seed) if apart is not None else None

    def gold_judge(self, prompts: Mapping[str, Sequence[Dialogue]]) -> GoldJudge | None:
        """The world's judge, where there is a world and every prompt is its; of others it knows no truth."""
        if self.world is None:
            return None
        judge = self.world.judge()
        foreign = [prompt for part in prompts.values() for prompt in part if not judge.knows(prompt)]
        if foreign:
            whose = f"{len(foreign):,} of {sum(map(len, prompts.values())):,} prompts are not the embedded world's"
            self.session.progress.note(f"the gold judge does not judge: {whose} ({foreign[0].source}, …)")
            return None
        return judge

    def load(self, data: DataSet[R], *, with_test: bool = False) -> Loaded[R]:
        """Read a data set; rows set aside go to `quarantine.jsonl`, the report to `data.json`."""
        loaded = self.read(data, quarantine=self.session.folder / f"{_QUARANTINE}.jsonl", with_test=with_test)
        self._tell({self.stage.kind.name: loaded})
        return loaded

    def replayed(self, replay: Replay | None) -> list[Document]:
        """The documents that the stage may replay, told in `data.json` beside its own; none where it replays none.

        Raises:
            SettingError: they cannot be read, or there is none.
        """
        if replay is None:
            return []
        try:
            loaded = self.read(replay.data(), quarantine=self.session.folder / f"{_QUARANTINE}-{_REPLAY}.jsonl")
        except DataError as error:
            raise SettingError(_REPLAY, f"its documents cannot be read: {error}") from error
        self._tell({_REPLAY: loaded})
        return loaded.train

    def load_campaigns(self, data: Sequence[DataSet[Dialogue]], *, with_test: bool = False) -> Campaigns:
        """Read one data set per campaign; the records of each are tagged with it.

        Rows set aside go to `quarantine-CAMPAIGN.jsonl`, the reports to one `data.json`.
        """
        from recipes.stages.rlhf_inputs import Campaigns

        campaigns, reports = Campaigns(), {}
        for part in data:
            campaign = str(part.campaign)
            quarantine = self.session.folder / f"{_QUARANTINE}-{campaign}.jsonl"
            loaded = self.read(part, quarantine=quarantine, with_test=with_test)
            reports[campaign] = loaded
            campaigns.add(loaded, campaign)
        self._tell(reports)
        return campaigns

    @cached_property
    def _told(self) -> dict[str, Any]:
        """The data reports so far, as `data.json` holds them."""
        return {}

    def _tell(self, loaded: Mapping[str, Loaded[Any]]) -> None:
        self._told.update({part: _plain_report(each) for part, each in loaded.items()})
        write_json(self.session.folder / _DATA, self._told)

    def read(self, data: DataSet[R], *, quarantine: Path | None = None, with_test: bool = False) -> Loaded[R]:
        """Read a data set and write nothing but, where asked for, its rows set aside.

        Args:
            with_test: a town's test part too, for a stage that reports on what no other one has looked at.
        """
        from alignment.data.corpus import load_records

        return load_records(
            data.records,
            data.settings,
            seed=self.session.seed,
            quarantine=quarantine,
            world=self.world,
            stage_folder=self.folder_of,
            split=self.split,
            with_test=with_test,
        )

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that holds for this stage."""
        from alignment.text.tokenizer import Tokenizer

        return Tokenizer.load(self.folder_of(str(self.stage.tokenizer)) / "tokenizer")

    def start(self) -> Policy:
        """The policy that the stage starts from, checked against the tokenizer."""
        from alignment.policy.pairing import require_same_tokenizer
        from alignment.policy.policy import load_policy

        inputs, parent = self.stage.inputs, self.stage.starts_from
        if not isinstance(inputs, FromPolicy):
            raise UsageError(f"stage {self.stage.name} starts from no policy")
        if parent is not None:
            policy = self.policy_of(parent)
        elif inputs.model is not None and inputs.model.path is not None:
            policy = load_policy(inputs.model.path, revision=inputs.model.revision)
            for note in policy.notes:
                self.session.progress.note(note)
        else:
            raise UsageError(
                f"stage {self.stage.name} has no model to start from; say model.path or add a stage before"
            )
        origin = parent or (inputs.model.path if inputs.model else None)
        require_same_tokenizer(policy.tokenizer, f"the checkpoint {origin}", self.tokenizer(), "the run")
        if inputs.gradient_checkpointing or (inputs.model is not None and inputs.model.gradient_checkpointing):
            policy.model.gradient_checkpointing_enable()
        return policy

    def policy_of(self, name: str) -> Policy:
        """A parent's policy."""
        from alignment.policy.policy import load_policy

        return load_policy(self.folder_of(name) / "checkpoint")

    def reward(self, source: RewardSource) -> Scorer:
        """What gives one role's scores: a parent's reward model, a checkpoint of the user's, or a function.

        Raises:
            UsageError: it is a function, and whoever runs did not allow the recipe's own code.
            TokenizerError: it reads token ids as other texts than the run's tokenizer.
        """
        from reward.brought import open_brought
        from reward.model import RewardModel

        if source.brought is None:
            return RewardModel.load(self.folder_of(str(source.stage)) / "checkpoint")
        if source.brought.function is not None and not self.allow_code:
            raise UsageError(refused_code({f"{source.key}.function": source.brought.function}))
        return open_brought(source.brought, self.tokenizer())

    def watch(self, source: RewardSource) -> Scorer | EndpointWatch:
        """What watches: as `reward`, or an outside model, whose verdicts the stage's folder keeps.

        Raises:
            UsageError: as `reward`, or the environment variable that the endpoint names holds no key.
        """
        from rl.outside_watch import EndpointWatch

        if source.brought is None or source.brought.endpoint is None:
            return self.reward(source)
        return EndpointWatch(source.brought.endpoint, self.session)

    def judges(self, models: RewardModels) -> RewardJudges:
        """What scores, and how the scores become one."""
        from rl.judges import RewardJudges

        return RewardJudges(
            helpfulness=self.reward(models.helpfulness),
            safety=self.reward(models.safety) if models.safety is not None else None,
            watch=self.watch(models.watch) if models.watch is not None else None,
            safety_threshold=models.combination.safety_threshold,
            compute=self.session.compute,
        )


def refused_code(functions: Mapping[str, str]) -> str:
    """The sentence that refuses a recipe's own code: key -> module:name."""
    named = ", ".join(f"{key} ({name})" for key, name in functions.items())
    return (
        f"the recipe names Python code to run: {named}; whoever runs it allows that with --allow-code "
        f"(from Python: recipes.run(…, allow_code=True)), after reading the code"
    )


def _plain_report(loaded: Loaded[Any]) -> dict[str, Any]:
    """The data report without the run's own place, so that two runs' files compare equal."""
    report = loaded.report.as_dict()
    return {**report, "quarantine": Path(report["quarantine"]).name if report.get("quarantine") else None}
