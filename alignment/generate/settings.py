"""Settings of sampling.  No torch."""

from __future__ import annotations

from pydantic import field_validator

from alignment.settings import Settings, setting


class SamplingSettings(Settings):
    """The sampling distribution and its limits (Llama 2 reference code: temperature 0.6, top-p 0.9)."""

    temperature: float = setting(0.6, "divides the logits; 0 takes the most likely token (greedy)", ge=0.0, le=10.0)
    top_p: float = setting(
        0.9, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0.0, le=1.0
    )
    top_k: int = setting(0, "keep the K most likely tokens; 0 keeps all", ge=0)
    max_new_tokens: int = setting(256, "most tokens of one answer, its end token included", ge=1)
    stop: tuple[str, ...] = setting((), "texts that end an answer; they are cut off")

    def greedy(self) -> SamplingSettings:
        """The same limits, the most likely token taken each time."""
        return SamplingSettings(**self.model_dump() | {"temperature": 0.0})

    @field_validator("stop")
    @classmethod
    def _texts(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("holds an empty text, which would end every answer at once")
        return stop
