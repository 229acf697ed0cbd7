"""The best model so far: PPO's result is the one that held-out prompts say is the best, not the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from alignment.train.checkpoints import load_model_tensors, model_tensors
from rl.hacking import paired_error
from rl.result import HeldOut


class Best:
    """A copy of the best model's trained parameters, and the held-out scores that decided it (`HeldOut.decides`).

    Args:
        model: the one that is trained.

    Attributes:
        course: every held-out evaluation, in order.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.course: list[HeldOut] = []
        self._tensors: dict[str, Tensor] = {}
        self._watch: tuple[float | None, ...] | None = None  # the best one's, prompt by prompt

    def offer(self, figures: HeldOut) -> None:
        """Take the model as it is now if its deciding score is higher than all before it."""
        if self.course:
            error = paired_error(figures.watch_by_prompt, self._watch)
            figures = dataclasses.replace(figures, watch_error=error)
        if not self.course or figures.decides > max(entry.decides for entry in self.course):
            self._tensors = {
                name: tensor.clone() for name, tensor in model_tensors(self.model, trained_only=True).items()
            }
            self._watch = figures.watch_by_prompt
        self.course.append(figures)

    @property
    def age(self) -> int:
        """Evaluations since the best one."""
        return len(self.course) - 1 - int(np.argmax([entry.decides for entry in self.course]))

    def restore(self) -> None:
        """Put the best parameters back into the model."""
        load_model_tensors(self.model, self._tensors, trained_only=True)

    def tensors(self) -> Mapping[str, Tensor]:
        """The best parameters."""
        return self._tensors

    def values(self) -> Mapping[str, Any]:
        """The course, and the best one's watch scores where there are any."""
        watch = {} if self._watch is None else {"best_watch": list(self._watch)}
        return {"held_out": [entry.as_json() for entry in self.course], **watch}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Put both back."""
        self._tensors = dict(tensors)
        self.course = [HeldOut(**entry | {"iteration": int(entry["iteration"])}) for entry in values["held_out"]]
        self._watch = tuple(values["best_watch"]) if "best_watch" in values else None
