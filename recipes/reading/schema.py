"""The schema of a recipe: the settings of all stages, composed from the rooms' own.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from alignment.data.record_types import DIALOGUES, DOCUMENTS, PREFERENCES, PROMPTS, RecordType
from alignment.data.settings import DataSettings, SplitSettings
from alignment.evaluate.settings import EvaluateSettings
from alignment.model.settings import ModelSettings
from alignment.settings import Settings, setting
from alignment.strict_yaml import KeyPath, YamlDocument
from alignment.text.settings import TokenizerSettings
from alignment.train.settings import ComputeSettings, PretrainSettings, SftSettings
from alignment.train.tracking import Logger
from alignment.world.settings import WorldSettings
from gatt.settings import GattSettings
from recipes.reading.overrides import origin_of
from recipes.reading.variables import Expansion
from reward.settings import RewardSettings
from rl.settings import RlhfSettings

# sections with data of their own: the one that takes a user's chats, and those that come after it
CHATS, AFTER_CHATS = "sft", ("reward", "rlhf", "gatt")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class TokenizerStageSettings(TokenizerSettings):
    """The tokenizer and the documents to train it on."""

    data: DataSettings | None = setting(None, "documents to train it on; none: the pretraining documents")


class RewardPair(Settings):
    """The two reward models (Llama 2 paper, 3.2.2)."""

    helpfulness: RewardSettings = setting(..., "the helpfulness model")
    safety: RewardSettings = setting(..., "the safety model")

    def by_role(self) -> dict[str, RewardSettings]:
        """Role -> settings, in the order in which they are trained."""
        return {"helpfulness": self.helpfulness, "safety": self.safety}


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
    pretrain: PretrainSettings | None = setting(None, "stage pretrain; none: start from model.path")
    sft: SftSettings | None = setting(None, "stage sft")
    reward: RewardPair | None = setting(None, "stages reward-helpfulness and reward-safety")
    rlhf: RlhfSettings | None = setting(None, "stages rlhf-v1 … rlhf-vN")
    gatt: GattSettings | None = setting(None, "stage gatt")
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
        if self.reward is not None:
            for role, settings in self.reward.by_role().items():
                found[f"reward.{role}.data"] = settings.data, PREFERENCES
        if self.rlhf is not None:
            found["rlhf.prompts"] = self.rlhf.prompts, PROMPTS
            if self.rlhf.safety_prompts is not None:
                found["rlhf.safety_prompts"] = self.rlhf.safety_prompts, PROMPTS
        if self.gatt is not None:
            found["gatt.data"] = self.gatt.data, DIALOGUES
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
