"""Settings of the evaluation of models over versions.  No torch."""

from __future__ import annotations

from alignment.evaluate.endpoint_settings import EndpointSettings
from alignment.generate.settings import SamplingSettings
from alignment.settings import Settings, setting


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
