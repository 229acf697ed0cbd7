"""Attention on the instruction, turn by turn: the kind of the Llama 2 paper's figure 9.

The core never makes attention weights, so each layer's queries and keys are multiplied plainly here, one head at a
time: of T tokens no more than a few [T, T] are held.  As in the figure the strongest weight over all layers and heads
counts, and neighbouring tokens are put together, here by turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from alignment.errors import ArgumentError
from alignment.model.llama import LlamaPolicy
from alignment.model.modes import evaluating
from alignment.policy.adapted import without_wrapper
from alignment.policy.policy import Policy
from alignment.records import Dialogue
from alignment.text.chat import END_INST, END_SYS, INST, SYS, render_dialogue
from alignment.text.tokenizer import Tokenizer
from gatt.result import InstructionAttention

# (layer, head, weights [T, T]), each row a distribution over itself and what is before it
Seen = Callable[[int, int, Tensor], None]


def attention_weights(model: LlamaPolicy, token_ids: Tensor) -> Tensor:
    """Every layer's and head's attention weights of one row of tokens [T]: [L, H, T, T]."""
    found: list[Tensor] = []
    _read(model, token_ids, lambda layer, head, weights: found.append(weights))
    weights: Tensor = torch.stack(found).unflatten(0, (len(model.model.layers), -1))
    return weights


def strongest_attention(model: LlamaPolicy, token_ids: Tensor) -> Tensor:
    """The largest weight over layers and heads, of every token [T] on every one: [T, T]."""
    strongest = torch.zeros(len(token_ids), len(token_ids), device=token_ids.device)

    def take(layer: int, head: int, weights: Tensor) -> None:
        torch.maximum(strongest, weights, out=strongest)

    _read(model, token_ids, take)
    return strongest


def _read(model: LlamaPolicy, token_ids: Tensor, seen: Seen) -> None:
    """Run the layers over one row, showing every head's weights as they are made, in fp32."""
    if token_ids.ndim != 1:
        raise ArgumentError(f"the tokens are {tuple(token_ids.shape)}; one row [T] is needed")
    length = len(token_ids)
    later = torch.ones(length, length, dtype=torch.bool, device=token_ids.device).triu(1)

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads = []
        group = query.shape[1] // key.shape[1]
        for head in range(query.shape[1]):
            scores = query[:, head].float() @ key[:, head // group].float().T * query.shape[-1] ** -0.5
            weights = scores.masked_fill(later, float("-inf")).softmax(-1)
            seen(layer, head, weights)
            heads.append(weights.to(value.dtype) @ value[:, head // group])
        return torch.stack(heads, dim=1)

    with torch.no_grad(), evaluating(model):
        model.model.run(token_ids, torch.arange(length, device=token_ids.device), attend)


def can_be_read(policy: Policy) -> bool:
    """Whether the policy is the core, whose attention can be read."""
    return isinstance(without_wrapper(policy.model), LlamaPolicy)


def instruction_attention(policy: Policy, dialogues: Sequence[Dialogue]) -> InstructionAttention:
    """How strongly each turn's answer looks at the system message and at the turns before it.

    Args:
        dialogues: each with a system message; the longest has n turns.  `<s>`, which much attention rests on whatever
            the text, belongs to no part, nor do the chat format's markers around the system message.

    Raises:
        ArgumentError: there is no dialogue, one has no system message, or the model is not the core.
    """
    model = without_wrapper(policy.model)
    if not isinstance(model, LlamaPolicy):
        raise ArgumentError("attention is read of the core alone; this is a model of another architecture")
    if not dialogues:
        raise ArgumentError("attention on the instruction needs a dialogue to read")
    turns = max(len(dialogue.turns) // 2 for dialogue in dialogues)
    sums, counts = torch.zeros(turns, turns + 1, dtype=torch.float64), torch.zeros(turns, dtype=torch.float64)
    for dialogue in dialogues:
        found = _by_part(model, dialogue, policy.tokenizer)
        sums[: len(found), : len(found) + 1] += found
        counts[: len(found)] += 1
    mean = sums / counts[:, None]
    return InstructionAttention(
        dialogues=len(dialogues),
        by_turn=tuple(mean[:, 0].tolist()),
        by_part=tuple(map(tuple, mean.tolist())),
    )


def _by_part(model: LlamaPolicy, dialogue: Dialogue, tokenizer: Tokenizer) -> Tensor:
    """[n, n + 1]: turn by part, the mean over the tokens that predict an answer of the strongest weight on a part."""
    rendered = render_dialogue(dialogue, tokenizer)
    start, end = system_tokens(dialogue, tokenizer)
    strongest = strongest_attention(model, torch.tensor(rendered.token_ids, device=model.device)).double().cpu()
    starts = [0, *rendered.turn_ends[:-1]]
    # a turn begins with <s>; the first one's begins after the system message
    parts = [(start, end), *((max(at + 1, end), stop) for at, stop in zip(starts, rendered.turn_ends, strict=True))]
    found = torch.zeros(len(starts), len(parts), dtype=torch.float64)
    for turn, (at, stop) in enumerate(zip(starts, rendered.turn_ends, strict=True)):
        asking = [place - 1 for place in range(at, stop) if rendered.trained[place]]
        for number, (first, last) in enumerate(parts[: turn + 2]):
            found[turn, number] = strongest[asking, first:last].amax(-1).mean()
    return found


def system_tokens(dialogue: Dialogue, tokenizer: Tokenizer) -> tuple[int, int]:
    """From which token to before which the system message's own text goes; a piece that crosses its edge is left out.

    Raises:
        ArgumentError: the dialogue has no system message.
    """
    if not dialogue.system:
        raise ArgumentError(f"{dialogue.source}: the dialogue has no system message")
    whole = tokenizer.encode(f"{INST} {SYS}{dialogue.system}{END_SYS}{dialogue.turns[0].content} {END_INST}", bos=True)
    start = _shared(whole, tokenizer.encode(f"{INST} {SYS}", bos=True))
    end = _shared(whole, tokenizer.encode(f"{INST} {SYS}{dialogue.system}", bos=True))
    return min(start, end - 1), end


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two runs begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
