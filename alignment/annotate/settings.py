"""Settings of collecting preferences.  No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from alignment.data.settings import DataSettings
from alignment.evaluate.settings import EndpointSettings
from alignment.generate.settings import SamplingSettings
from alignment.settings import Settings, setting

STAGE_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
WORLD: Literal["world"] = "world"
PEOPLE: Literal["people"] = "people"


def _which(value: Any) -> str:
    return WORLD if isinstance(value, str) else "endpoint"


class PaidEndpointSettings(EndpointSettings):
    """An OpenAI-compatible endpoint that compares answers for a price."""

    price_sent: float = setting(
        0.0, "price of a million tokens sent to it, for the page's cost; 0: not told", ge=0, cosmetic=True
    )
    price_received: float = setting(
        0.0, "price of a million tokens of its replies, in the same currency; 0: not told", ge=0, cosmetic=True
    )


AnnotatorChoice = Annotated[
    Annotated[Literal["world", "people"], Tag(WORLD)] | Annotated[PaidEndpointSettings, Tag("endpoint")],
    Discriminator(_which),
]


class CollectSettings(Settings):
    """Pairs of the policy's own answers, compared and graded (Llama 2 paper, 3.2.1)."""

    prompts: DataSettings = setting(..., "prompts of the helpfulness campaign")
    safety_prompts: DataSettings | None = setting(
        None, "prompts of the safety campaign, whose answers are labelled safe or unsafe"
    )
    num_prompts: int = setting(300, "training prompts of the helpfulness campaign; 0: all", ge=0)
    num_safety_prompts: int = setting(150, "training prompts of the safety campaign; 0: all", ge=0)
    num_held_out: int = setting(0, "prompts of each campaign's validation part, for held-out sources", ge=0)
    num_watch: int = setting(
        0,
        "further training prompts of each campaign, whose pairs sources with `part: watch` read and no others: the "
        "watch model has them to itself",
        ge=0,
        added=True,
    )
    variants: tuple[Annotated[str, Field(pattern=STAGE_NAME)], ...] = setting(
        (), "stages whose policies answer; none: the chat model that the reward models start from"
    )
    temperatures: tuple[Annotated[float, Field(ge=0, le=10)], ...] = setting(
        (0.7, 1.0),
        "every variant answers at each; the two answers of a pair differ in variant or temperature where there are two",
    )
    answers: int = setting(4, "answers to a prompt of each variant at each temperature", ge=1, le=256)
    pairs_per_prompt: int = setting(8, "pairs of a prompt's answers that are compared, at most", ge=1)
    top_p: float = setting(1.0, "nucleus: smallest set of tokens whose probability reaches it; 1 keeps all", gt=0, le=1)
    max_new_tokens: int = setting(256, "most tokens of one answer, its end token included; longer ones are cut", ge=1)
    keep_cut: bool = setting(False, "compare answers that were cut at max_new_tokens too")
    annotator: AnnotatorChoice = setting(
        WORLD,
        "who compares: `world`, the embedded world's simulated annotators; `people`, whom `align annotate` asks; or an "
        "endpoint (url, model, …)",
    )
    judged_twice: float = setting(
        0.05, "the share of pairs that a second annotator compares too, to see how far they agree", ge=0, le=1
    )

    @field_validator("variants", "temperatures")
    @classmethod
    def _all_differ(cls, values: Sequence[Any]) -> Sequence[Any]:
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise ValueError(f"holds {', '.join(map(repr, twice))} twice, which changes nothing; name each once")
        return values

    @field_validator("temperatures")
    @classmethod
    def _some(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values:
            raise ValueError("is empty; at least one temperature is needed, for example [0.7, 1.0]")
        return values

    @model_validator(mode="after")
    def _some_left_to_watch(self) -> CollectSettings:
        asked = {"num_prompts": self.num_prompts}
        if self.safety_prompts is not None:
            asked["num_safety_prompts"] = self.num_safety_prompts
        for key, count in asked.items():
            if self.num_watch and not count:
                raise ValueError(
                    f"{key} is 0, which takes all training prompts, and num_watch asks for {self.num_watch:,} further "
                    f"ones; say how many {key} takes"
                )
        return self

    @model_validator(mode="after")
    def _pairs_to_draw(self) -> CollectSettings:
        ways = max(1, len(self.variants)) * len(self.temperatures)
        if ways < 2 and self.answers < 2:
            raise ValueError(
                f"one variant at the one temperature {self.temperatures[0]:g} with one answer makes no pair; raise "
                f"answers, or add a temperature to temperatures or a stage to variants"
            )
        # of one way the two are any two of its answers; of more, answers of two that differ
        alone = self.answers * (self.answers - 1) // 2
        most = ways * (ways - 1) // 2 * self.answers**2 if ways > 1 else alone
        if self.pairs_per_prompt > most:
            raise ValueError(
                f"pairs_per_prompt is {self.pairs_per_prompt}, and {ways} variants with {self.answers} answers each "
                f"make at most {most} pairs of a prompt; lower it, or raise answers"
            )
        return self

    @property
    def prices(self) -> tuple[float, float]:
        """Of a million tokens sent to the annotator, and of a million received; 0: not told, or nothing is paid."""
        who = self.annotator
        return (who.price_sent, who.price_received) if isinstance(who, PaidEndpointSettings) else (0.0, 0.0)

    def sampling(self, temperature: float) -> SamplingSettings:
        """How answers are drawn at a temperature."""
        return SamplingSettings(temperature=temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens)
