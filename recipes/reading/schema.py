"""The schema of a recipe: the settings of all stages, composed from the rooms' own.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr, model_validator

from alignment.annotate.settings import CollectSettings
from alignment.data.record_types import DIALOGUES, DOCUMENTS, PREFERENCES, PROMPTS, RecordType
from alignment.data.settings import DataSettings, SplitSettings
from alignment.evaluate.settings import EndpointSettings, EvaluateSettings
from alignment.model.settings import ModelSettings, names_folder
from alignment.settings import Settings, setting
from alignment.strict_yaml import KeyPath, YamlDocument
from alignment.text.settings import TokenizerSettings
from alignment.train.settings import ComputeSettings, PretrainSettings, SftSettings
from alignment.train.tracking import Logger
from alignment.world.settings import WorldSettings
from gatt.settings import GattSettings
from recipes.reading.overrides import origin_of
from recipes.reading.variables import Expansion
from reward.function import module_file
from reward.settings import BroughtReward, RewardSettings
from rl.settings import RlhfSettings

# sections with data of their own: the one that takes a user's chats, and those that come after it
CHATS, AFTER_CHATS, EVALUATION = "sft", ("collect", "reward", "rlhf", "gatt"), "evaluate"
MEASURES_REWARDS = "own_answers"  # of `evaluate`: what it cannot do without the section reward
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class TokenizerStageSettings(TokenizerSettings):
    """The tokenizer and the documents to train it on."""

    data: DataSettings | None = setting(None, "documents to train it on; none: the pretraining documents")


class PretrainStageSettings(PretrainSettings):
    """Pretraining from scratch or on (Llama 2 paper, 2), and its documents."""

    data: DataSettings = setting(..., "documents")


class SftStageSettings(SftSettings):
    """Supervised fine-tuning (Llama 2 paper, 3.1), and its demonstrations."""

    data: DataSettings = setting(..., "dialogues that end with an answer")


class GattStageSettings(GattSettings):
    """Ghost Attention (Llama 2 paper, 3.3), and the dialogues that it takes its user turns from."""

    data: DataSettings = setting(..., "dialogues whose user turns are used; answers are sampled anew")


class RewardStageSettings(RewardSettings):
    """One reward model: trained on comparisons (Llama 2 paper, 3.2.2), or brought: a checkpoint or a function."""

    data: DataSettings | None = setting(
        None, "preferences (and labelled answers, for the safety term) to train it on; or path, or function"
    )
    path: str | None = setting(
        None,
        "a finished reward model's folder or hub name (one label, the run's tokenizer); nothing is trained then",
        added=True,
        file=names_folder,
    )
    revision: str | None = setting(None, "the hub revision of `path`", added=True)
    function: str | None = setting(
        None,
        "module:name of a Python function that scores dialogues; runs only with --allow-code",
        added=True,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
    )
    flaws: str | None = setting(
        None,
        "a file of right answers and flawed copies ({prompt, right, flawed, flaw}) that the trained model is asked to "
        "tell apart",
        added=True,
        file=True,
    )

    ORIGINS: ClassVar[tuple[str, ...]] = ("data", "path", "function")

    @model_validator(mode="after")
    def _one_origin(self) -> RewardStageSettings:
        given = [name for name in self.ORIGINS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of {', '.join(self.ORIGINS[:-1])} and {self.ORIGINS[-1]} says where the scores come "
                f"from, got {given or 'none'}"
            )
        fields = type(self).model_fields  # a resolved recipe says every one: what is no default was asked for
        own = {name for name in fields if getattr(self, name) != fields[name].default}
        unread = sorted(own - {*self.ORIGINS, "revision"})
        if given != ["data"] and unread:
            raise ValueError(f"{', '.join(unread)} say how a model is trained; with {given[0]} nothing is: leave out")
        if self.revision is not None and self.path is None:
            raise ValueError("revision is that of a hub name in `path`; there is none")
        return self

    @property
    def brought(self) -> BroughtReward | None:
        """What is brought instead of trained."""
        if self.data is not None:
            return None
        code = module_file(self.function) if self.function is not None else None
        return BroughtReward(
            path=self.path,
            revision=self.revision,
            function=self.function,
            code=str(code) if code is not None else None,
        )


class WatchStageSettings(RewardStageSettings):
    """The watch model: a reward model, or an endpoint."""

    endpoint: EndpointSettings | None = setting(
        None,
        "an outside model over HTTP, in OpenAI's form, that compares what a stage's model says with what it said at "
        "the start: it wins 1, ties 0.5, loses 0; nothing is trained then",
        added=True,
    )

    ORIGINS: ClassVar[tuple[str, ...]] = (*RewardStageSettings.ORIGINS, "endpoint")

    @property
    def brought(self) -> BroughtReward | None:
        """What is brought instead of trained."""
        found = super().brought
        return None if found is None else found.model_copy(update={"endpoint": self.endpoint})


class RewardPair(Settings):
    """The two reward models (Llama 2 paper, 3.2.2); the helpfulness model alone will do."""

    helpfulness: RewardStageSettings = setting(..., "the helpfulness model; without a safety model it decides alone")
    safety: RewardStageSettings | None = setting(None, "the safety model; none: the combined reward has no safety part")
    watch: WatchStageSettings | None = setting(
        None,
        "a third model on comparisons that the two do not see, or an endpoint; it rewards nothing, it chooses "
        "what a stage decides by itself (PPO's best iteration) and tells where the reward goes astray; none: the "
        "reward models do",
        added=True,
    )

    def by_role(self) -> dict[str, RewardStageSettings]:
        """Role -> settings, in the order in which they are trained."""
        roles = {"helpfulness": self.helpfulness, "safety": self.safety, "watch": self.watch}
        return {role: settings for role, settings in roles.items() if settings is not None}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a recipe's values came from.

    Attributes:
        file: its file, None for a recipe made in Python.
        overrides: as they were given.
        expansions: path of every string that named variables -> what it became.
        document: the file as it was read, for its lines.
        overridden: path of what an override set, as text parts -> how to name that override.
    """

    file: str | None = None
    overrides: tuple[str, ...] = ()
    expansions: Mapping[KeyPath, Expansion] = field(default_factory=dict)
    document: YamlDocument | None = field(default=None, repr=False)
    overridden: Mapping[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    def where(self, path: KeyPath) -> str:
        """The place of a value, for a problem: "recipe.yaml:12", "override 'sft.epochs=2'", or "recipe" (of Python)."""
        if (override := origin_of(path, self.overridden)) is not None:
            return override
        if self.file is None or self.document is None:
            return self.file or "recipe"
        return f"{self.file}:{self.document.line_of(path)}"


class Recipe(Settings):
    """All settings of a run; one stage per section."""

    name: str = setting("run", "names the run's folder and its report", cosmetic=True, pattern=_NAME)
    description: str = setting("", "what the recipe is for; shown in the report", cosmetic=True)
    seed: int = setting(0, "every draw of the run is named below it", ge=0, lt=2**63)
    out: str | None = setting(None, "the run's folder; none: runs/<name>", cosmetic=True, min_length=1)
    world: WorldSettings | None = setting(None, "the embedded chat world, for sources of the kind `world`")
    split: SplitSettings = setting(
        SplitSettings(),
        "which prompts are held out, once for all stages (the embedded world brings a split of its own)",
    )
    track: tuple[Logger, ...] = setting(
        (), "loggers beside metrics.jsonl: tensorboard, wandb, mlflow, trackio; each needs its package", cosmetic=True
    )
    compute: ComputeSettings = setting(ComputeSettings(), "how the machine is used")
    tokenizer: TokenizerStageSettings = setting(TokenizerStageSettings(), "stage tokenizer")
    model: ModelSettings = setting(ModelSettings(), "the core's shape, or the checkpoint to start from")
    pretrain: PretrainStageSettings | None = setting(None, "stage pretrain; none: start from model.path")
    sft: SftStageSettings | None = setting(None, "stage sft")
    collect: CollectSettings | None = setting(
        None, "stage collect: preferences on the policy's own answers, read as {stage: collect}", added=True
    )
    reward: RewardPair | None = setting(None, "stages reward-helpfulness and reward-safety")
    rlhf: RlhfSettings | None = setting(None, "stages rlhf-v1 … rlhf-vN")
    gatt: GattStageSettings | None = setting(None, "stage gatt")
    evaluate: EvaluateSettings = setting(EvaluateSettings(), "stage evaluate")

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """Where its values came from."""
        return self._origin

    @property
    def run_folder(self) -> Path:
        """Where it runs unless the caller says otherwise."""
        return Path(self.out) if self.out else Path("runs") / self.name

    @property
    def data_sections(self) -> dict[str, tuple[DataSettings, RecordType[Any]]]:
        """Every data set that stages read: dotted key -> its settings and what its rows become."""
        found: dict[str, tuple[DataSettings, RecordType[Any]]] = {}
        if self.tokenizer.data is not None:
            found["tokenizer.data"] = self.tokenizer.data, DOCUMENTS
        if self.pretrain is not None:
            found["pretrain.data"] = self.pretrain.data, DOCUMENTS
        if self.sft is not None:
            found["sft.data"] = self.sft.data, DIALOGUES
        if self.collect is not None:
            found["collect.prompts"] = self.collect.prompts, PROMPTS
            if self.collect.safety_prompts is not None:
                found["collect.safety_prompts"] = self.collect.safety_prompts, PROMPTS
        if self.reward is not None:
            for role, settings in self.reward.by_role().items():
                if settings.data is not None:  # a brought reward is trained on none
                    found[f"reward.{role}.data"] = settings.data, PREFERENCES
        if self.rlhf is not None:
            found["rlhf.prompts"] = self.rlhf.prompts, PROMPTS
            if self.rlhf.safety_prompts is not None:
                found["rlhf.safety_prompts"] = self.rlhf.safety_prompts, PROMPTS
            if self.rlhf.dpo is not None and self.rlhf.dpo.data is not None:
                found["rlhf.dpo.data"] = self.rlhf.dpo.data, PREFERENCES
        if self.gatt is not None:
            found["gatt.data"] = self.gatt.data, DIALOGUES
        if self.evaluate.instructions is not None:
            found["evaluate.instructions.data"] = self.evaluate.instructions.data, DIALOGUES
        return found

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of prompts that the run keeps for its test and its validation part."""
        # a fraction of texts is no matter of other stages, which have none
        own = [data.held_out_fraction for data, records in self.data_sections.values() if records is not DOCUMENTS]
        validation = max([self.split.validation or 0.0, *own])
        return validation if self.split.test is None else self.split.test, validation

    @property
    def tokenizer_data(self) -> DataSettings | None:
        """The documents that the tokenizer is trained on; None if it is loaded."""
        if self.tokenizer.path is not None:
            return None
        return self.tokenizer.data or (self.pretrain.data if self.pretrain else None)
