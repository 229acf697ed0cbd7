"""Settings of the evaluation of models over versions, and of an outside judge.  No torch."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import field_validator

from alignment.constraint import names_yaml, require_source
from alignment.data.settings import DataSettings
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

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        fault = address_fault(url)
        if fault:
            raise ValueError(f"is no address of an endpoint ({fault}); http://HOST/v1 or https://HOST/v1 is needed")
        return url


def address_fault(url: str) -> str:
    """Why a URL names no endpoint, without quoting it (it may hold a secret); "" if it does."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "its host cannot be read"
    if not url.isprintable() or any(sign.isspace() for sign in url):
        return "it holds a blank or a control character"
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not parts.hostname:
        return "it has no host"
    if parts.username is not None or parts.password is not None:
        return "it holds a user or a password; a key belongs into the variable that key_variable names"
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        return "it holds a query or a fragment, and /chat/completions is added at its end"
    try:
        return "" if parts.port != 0 else "its port is 0"
    except ValueError:
        return "its port is no number up to 65535"


class GreedySettings(SamplingSettings):
    """Sampling that takes the most likely token unless another temperature is said."""

    temperature: float = setting(0.0, "divides the logits; 0 takes the most likely token (greedy)", ge=0.0, le=10.0)
    top_p: float = setting(
        1.0, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0.0, le=1.0
    )


class WholeSamplingSettings(SamplingSettings):
    """Sampling from all that the model would say, as it stands, unless something else is said."""

    temperature: float = setting(1.0, "divides the logits; 0 takes the most likely token (greedy)", gt=0.0, le=10.0)
    top_p: float = setting(
        1.0, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0.0, le=1.0
    )


class OwnAnswersSettings(Settings):
    """Reward models measured on a policy's own answers to the evaluation's prompts."""

    models: tuple[str, ...] = setting(
        (), "stages whose models answer; empty: the chat model that the reward models start from"
    )
    samples: int = setting(16, "answers drawn to each prompt (K); the greedy one comes beside them", ge=2)
    sampling: WholeSamplingSettings = setting(WholeSamplingSettings(), "how the K answers are drawn")
    num_prompts: int = setting(100, "of the evaluation's helpfulness prompts, at most so many; 0: all", ge=0)
    num_safety_prompts: int = setting(50, "of the evaluation's safety prompts, at most so many; 0: all", ge=0)

    @field_validator("models")
    @classmethod
    def _once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for name in models:
            if models.count(name) > 1:
                raise ValueError(f"names {name} more than once")
        return models


class InstructionsSettings(Settings):
    """Whether every version keeps instructions that stand before a dialogue (Llama 2 paper, 3.3, table 30)."""

    data: DataSettings = setting(..., "dialogues; the user turns of those that are held out are asked")
    constraints: str = setting(
        "builtin",
        "the instructions: `world` (the embedded world's), `builtin`, `kinds`, or a .yaml file of constraints",
        file=names_yaml,
    )
    dialogues: int = setting(64, "dialogues that are held, each under one instruction", ge=1)
    turns: int = setting(2, "user turns of a dialogue; the instruction stands before the first alone", ge=2)

    @field_validator("constraints")
    @classmethod
    def _a_source(cls, constraints: str) -> str:
        return require_source(constraints)


class EvaluateSettings(Settings):
    """Held-out prompts answered by every version and judged."""

    num_prompts: int = setting(200, "held-out helpfulness prompts that each version answers; 0: all", ge=0)
    num_safety_prompts: int = setting(100, "held-out safety prompts that each version answers; 0: all", ge=0)
    sampling: GreedySettings = setting(GreedySettings(), "how the answers are drawn (greedy)")
    endpoint: EndpointSettings | None = setting(
        None, "an outside judge over HTTP, in OpenAI's form; its key stays in an environment variable"
    )
    own_answers: OwnAnswersSettings | None = setting(
        None,
        "reward models measured on the policy's own answers: right over wrong, best of K; none: they are not",
        added=True,
    )
    instructions: InstructionsSettings | None = setting(
        None,
        'whether instructions ("Always end your answer with …") are kept, version by version: what no prompt of RLHF '
        "asks for may be forgotten, and the other figures' prompts are RLHF's; none: not measured",
        added=True,
    )
    num_examples: int = setting(6, "sample dialogues shown side by side in the report", ge=0, cosmetic=True)
