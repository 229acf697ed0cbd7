"""Which reward models scored what a version kept, and which prompts it answered; beside its samples, for later ones.

    {"judges": {"helpfulness": SHA-256, "safety": SHA-256, "safety_threshold": 0.15}, "prompts": {id: digest}}

A function has no digest: whether it is the same one cannot be told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alignment.data.identity import dialogue_id
from alignment.errors import CheckpointError
from alignment.generate.draw import JOURNALS
from alignment.records import Dialogue
from alignment.store.atomic import write_json
from reward.foreign import ForeignReward
from reward.model import RewardModel
from reward.scorer import Scorer
from rl.judges import RewardJudges

SCORED_FILE = "scored.json"


@dataclass(frozen=True, kw_only=True)
class ScoredBy:
    """What a version's folder says of its scores.

    Attributes:
        judges: role -> the model's digest, None where it has none; and the threshold that combines them.
        prompts: id -> digest of the prompt's texts.
    """

    judges: Mapping[str, Any]
    prompts: Mapping[str, str]


def write_scored_by(folder: Path, judges: RewardJudges, prompts: Iterable[Dialogue]) -> None:
    """Write what scored a version's answers, and the prompts that they answer."""
    (folder / JOURNALS).mkdir(parents=True, exist_ok=True)
    found = {"judges": judge_digests(judges), "prompts": {prompt.id: prompt_digest(prompt) for prompt in prompts}}
    write_json(folder / JOURNALS / SCORED_FILE, found)


def read_scored_by(folder: Path) -> ScoredBy | None:
    """What a version's folder says; None where it does not say (its samples are gone, or a release before wrote it).

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / JOURNALS / SCORED_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return ScoredBy(judges=dict(found["judges"]), prompts=dict(found["prompts"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not say which reward models scored these answers ({type(error).__name__}); move it away, and "
            f"they are scored again"
        ) from None


def judge_digests(judges: RewardJudges) -> dict[str, Any]:
    """What the combined reward of an answer rests on: each model's digest, and the threshold."""
    models = {"helpfulness": judges.helpfulness, "safety": judges.safety}
    found: dict[str, Any] = {role: _digest(model) for role, model in models.items() if model is not None}
    return found if judges.safety is None else {**found, "safety_threshold": judges.safety_threshold}


def same_judges(scored: ScoredBy | None, now: Mapping[str, Any]) -> bool:
    """Whether the scores are surely those of the judges with these digests."""
    return scored is not None and None not in now.values() and dict(scored.judges) == now


def prompt_digest(prompt: Dialogue) -> str:
    """Of what a prompt says; its id may be another's where a file's rows have moved."""
    return dialogue_id(prompt.turns, prompt.system)


def _digest(model: Scorer) -> str | None:
    """SHA-256 of a model's weights, names and types, and of its tokenizer."""
    if not isinstance(model, (RewardModel, ForeignReward)):
        return None
    digest = hashlib.sha256(model.tokenizer.sha256.encode())
    for name, tensor in sorted(model.model.state_dict().items()):
        digest.update(f"|{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        plain = tensor.detach().cpu().contiguous()
        digest.update(memoryview(plain.view(-1).view(torch.uint8).numpy()) if plain.numel() else b"")
    return digest.hexdigest()
