"""The literal table: every kind of stage.  No torch, no pydantic: the command line makes its verbs from it."""

from __future__ import annotations

from typing import Any

from recipes.stages.collect import COLLECT
from recipes.stages.control import CONTROL
from recipes.stages.dpo import DPO
from recipes.stages.evaluate import EVALUATE
from recipes.stages.gatt import GATT
from recipes.stages.grpo import GRPO
from recipes.stages.kind import StageKind
from recipes.stages.ppo import PPO
from recipes.stages.pretrain import PRETRAIN
from recipes.stages.rejection import REJECTION
from recipes.stages.report import REPORT
from recipes.stages.reward import REWARD
from recipes.stages.sft import SFT
from recipes.stages.tokenizer import TOKENIZER

STAGES: dict[str, StageKind[Any, Any]] = {
    kind.name: kind
    for kind in (
        *(TOKENIZER, PRETRAIN, SFT, COLLECT, REWARD, REJECTION, PPO, GATT),
        *(CONTROL, DPO, GRPO, EVALUATE, REPORT),
    )
}
