"""Settings of the evaluation of models over versions, and of an outside judge.  No torch."""

from __future__ import annotations

from alignment.generate.settings import SamplingSettings
from alignment.settings import Settings, setting


class EndpointSettings(Settings):
    """An OpenAI-compatible endpoint that judges answers."""

    url: str = setting(
        "http://localhost:8000/v1", "address up to and with /v1; /chat/completions is added", min_length=1
    )
    model: str = setting(..., "the judging model's name, as the endpoint knows it", min_length=1)
    key_variable: str = setting("", "environment variable that holds the key; empty: no key is sent")
    timeout: float = setting(60.0, "seconds to wait for a reply", gt=0)


class EvaluateSettings(Settings):
    """Held-out prompts answered by every version and judged."""

    num_prompts: int = setting(200, "held-out helpfulness prompts a version answers; 0: all", ge=0)
    num_safety_prompts: int = setting(100, "held-out safety prompts a version answers; 0: all", ge=0)
    sampling: SamplingSettings = setting(
        SamplingSettings(temperature=0.0, top_p=1.0), "how the answers are drawn (greedy)"
    )
    endpoint: EndpointSettings | None = setting(
        None, "an outside judge over HTTP, in OpenAI's form; its key stays in an environment variable"
    )
    num_examples: int = setting(6, "sample dialogues shown side by side in the report", ge=0, cosmetic=True)
