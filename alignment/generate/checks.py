"""What every sampler refuses before any work.  No torch."""

from __future__ import annotations

from collections.abc import Sequence

from alignment.errors import RequestTooLong, UsageError
from alignment.generate.sampler import SampleRequest
from alignment.generate.settings import SamplingSettings


def check_requests(
    requests: Sequence[SampleRequest],
    settings: SamplingSettings,
    *,
    context: int,
    vocabulary: int,
    can_decode: bool,
) -> None:
    """Refuse what cannot be sampled.

    Args:
        context: most positions of the model.
        vocabulary: number of tokens of the model.
        can_decode: whether tokens can be turned into text, which stop texts need.

    Raises:
        RequestTooLong: a prompt leaves no room for one new token.
        UsageError: an empty prompt, a token outside the vocabulary, an empty stop text, or stop texts
            that cannot be looked for.
    """
    if settings.stop and not can_decode:
        raise UsageError("stop texts need a sampler with `decode`; it was built without one")
    if "" in settings.stop:
        raise UsageError("a stop text is empty; it would end every answer at once")
    for request in requests:
        length = len(request.prompt_ids)
        if length >= context:
            raise RequestTooLong(
                f"request {request.id!r}: its prompt has {length} tokens and the model's context {context}; "
                f"a prompt of at most {context - 1} leaves room for one new token"
            )
        if not length:
            raise UsageError(f"request {request.id!r}: its prompt is empty; it needs one token at least (BOS)")
        if not 0 <= min(request.prompt_ids) <= max(request.prompt_ids) < vocabulary:
            wrong = next(token for token in request.prompt_ids if not 0 <= token < vocabulary)
            raise UsageError(f"request {request.id!r}: token {wrong} is not in the vocabulary of {vocabulary}")


def answer_room(request: SampleRequest, settings: SamplingSettings, context: int) -> int:
    """Most new tokens of an answer: `max_new_tokens`, or what the context leaves."""
    return min(settings.max_new_tokens, context - len(request.prompt_ids))
