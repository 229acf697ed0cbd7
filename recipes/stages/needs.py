"""What a stage holds in memory and computes, as far as its settings say; `align plan` makes bytes of it.

No torch, no pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignment.policy.settings import AdapterSettings
    from recipes.stages.packed import Packed


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Models by role, and the largest of what passes through them.  Every role is a model of the policy's size.

    Attributes:
        trained: roles with gradients and an optimizer.
        held: frozen roles beside them.
        tokens: of one forest that is trained on.
        longest: tokens of its longest sequence.
        forests: of them a step.
        steps: optimizer steps; None where the data decide.
        adapter: what is trained in the place of all weights.
        answers: drawn in all; 0 where none is, None where the data decide.
        together: most answers of `answers` that decode at once.
        new_tokens: most new tokens of an answer; its prompt is taken to be as long.
    """

    trained: tuple[str, ...] = ("policy",)
    held: tuple[str, ...] = ()
    tokens: int = 0
    longest: int = 0
    forests: int = 1
    steps: int | None = None
    adapter: AdapterSettings | None = None
    answers: int | None = 0
    together: int = 0
    new_tokens: int = 0


def packed_needs(settings: Packed, *, adapter: AdapterSettings | None = None, held: tuple[str, ...] = ()) -> Needs:
    """Of a training on packed forests."""
    return Needs(
        held=held,
        tokens=settings.pack_length or settings.context_length,
        longest=settings.context_length,
        forests=settings.batch_size,
        steps=settings.max_steps,
        adapter=adapter,
    )


def paired_needs(settings: Packed, role: str, adapter: AdapterSettings | None) -> Needs:
    """Of a training on pairs: a step's are packed, both answers of one beside each other."""
    tokens = settings.pack_length or settings.context_length
    return Needs(
        trained=(role,),
        tokens=tokens,
        longest=settings.context_length,
        forests=-(-2 * settings.batch_size * settings.context_length // tokens),
        steps=settings.max_steps,
        adapter=adapter,
    )
