"""transformers' way of calling a model, over the core: padded rows, caches, packed rows, embeddings, labels.

The core runs one flat run of tokens with the attention that its caller gives (`LlamaBody.through`).  Here rows [B, N]
become such a run: a forest of roots where they may (padding costs nothing; training's way), whole rows where they must
(a cache, a 4-D mask, torch.compile, torch.export).  What cannot be obeyed is refused; nothing asked for is ignored.

Shapes: B rows of N tokens, T tokens of a flat run, C model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import Cache, DynamicCache, LlamaConfig
from transformers.modeling_outputs import BaseModelOutputWithPast

from alignment.errors import ArgumentError
from alignment.model.attention import AttentionPlan, forest_attention, plan_attention
from alignment.model.forest import Forest
from alignment.model.rotary import longest
from alignment.model.row_attention import RowAttention

if TYPE_CHECKING:
    from alignment.model.llama import LlamaBody

# what transformers' loss takes beside labels: the divisor over several batches, the label that counts for nothing, and
# labels that are moved already.  Its Trainer names the first where it makes the loss itself, too.
LOSS_OPTIONS = ("num_items_in_batch", "ignore_index", "shift_labels")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The inputs of one call, by transformers' names.

    Attributes:
        input_ids: [B, N]; or `inputs_embeds` [B, N, C].
        attention_mask: [B, cached + N], 0 at padding on either side; or 4-D, as transformers' masks are.
        position_ids: [B or 1, N]; where they go back a new document begins, which sees nothing of the one before it.
            So it does where they skip, if there is neither a mask nor a cache (as in transformers).  Without them
            each row counts from its first token.
        past_key_values: a cache of transformers', which takes the new keys and values.
        use_cache: whether to return a cache; by default what the configuration says, where nothing speaks against it.
        output_hidden_states: whether to return the input of every layer and the last norm's output.
        keep_padding: whether padded places are computed too, as transformers does.
        forest_plan: the layout of one flat run, [1, T]; the suite's own way.
    """

    input_ids: Tensor | None
    inputs_embeds: Tensor | None
    attention_mask: Tensor | None
    position_ids: Tensor | None
    past_key_values: Any
    use_cache: bool | None
    output_hidden_states: bool
    keep_padding: bool
    forest_plan: AttentionPlan | None


def body_forward(body: LlamaBody, asked: Asked) -> BaseModelOutputWithPast:
    """Hidden states of a forest or of rows.

    Returns:
        `last_hidden_state` [B, N, C] (zeros at padding, where the rows ran as a forest), `past_key_values` and
        `hidden_states` where they were asked for.

    Raises:
        ArgumentError: inputs that contradict each other, or that the core cannot obey.
    """
    if (asked.input_ids is None) == (asked.inputs_embeds is None):
        raise ArgumentError("exactly one of input_ids and inputs_embeds is needed")
    if asked.forest_plan is not None:
        return _forest(body, asked)
    x = body.embed_tokens(asked.input_ids) if asked.inputs_embeds is None else asked.inputs_embeds
    if x.ndim != 3:
        raise ArgumentError(f"the rows are {tuple(x.shape[:-1])}; [B, N] are needed, one row too")
    _check_shapes(asked, x)
    cache = _cache(body, asked)
    whole = _tracing() or cache is not None or asked.keep_padding or _has_full_mask(asked)
    return _whole_rows(body, x, asked, cache) if whole else _rows_as_forest(body, x, asked)


def reaches_padding(labels: Tensor | None, mask: Tensor | None, options: Mapping[str, Any]) -> bool:
    """Whether a label is to be predicted at a padded place, which the core would otherwise leave out."""
    shifted = options.get("shift_labels")
    if labels is None or mask is None or mask.ndim != 2 or mask.shape != labels.shape or _tracing():
        return False
    targets, padded = (labels[:, 1:], mask[:, :-1] == 0) if shifted is None else (shifted, mask == 0)
    return bool(((targets != options.get("ignore_index", -100)) & padded).any())


def keep_places(hidden: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """The places whose logits are wanted: the last so many (0: all), those named ([P], [B, P]), those true ([B, N])."""
    if isinstance(logits_to_keep, int):
        return hidden[:, -logits_to_keep:] if logits_to_keep else hidden
    if logits_to_keep.ndim == 1:
        return hidden[:, logits_to_keep]
    if logits_to_keep.dtype == torch.bool:
        return hidden[logits_to_keep]
    return torch.take_along_dim(hidden, logits_to_keep[..., None], dim=1)


def wants(config: LlamaConfig, options: dict[str, Any], *, return_dict: bool | None) -> tuple[bool, bool]:
    """Take transformers' flags out of a call's options.

    Returns:
        Whether hidden states are wanted, and whether the result is to be a named output (else a tuple).

    Raises:
        ArgumentError: attention weights are wanted, or some hidden states by number.
    """
    hidden, attentions = options.pop("output_hidden_states", None), options.pop("output_attentions", None)
    hidden = config.output_hidden_states if hidden is None else hidden
    if config.output_attentions if attentions is None else attentions:
        raise ArgumentError(
            "output_attentions: the core makes no attention weights; load the folder as transformers' LlamaForCausalLM "
            "(attn_implementation='eager') to see them"
        )
    if not isinstance(hidden, bool):
        raise ArgumentError(f"output_hidden_states is {hidden!r}; True gives the states of every layer")
    return hidden, bool(config.return_dict if return_dict is None else return_dict)


def refuse_unknown(options: Mapping[str, Any], *, obeyed: Collection[str] = ()) -> None:
    """Refuse options of a call that nothing would obey; those without a value ask for nothing.

    Raises:
        ArgumentError: naming them.
    """
    given = sorted(name for name, value in options.items() if value is not None and name not in obeyed)
    if given:
        raise ArgumentError(
            f"the core's forward does not know {', '.join(given)}; load the folder as transformers' own class to use it"
        )


def _tracing() -> bool:
    """Whether a graph is being made, in which nothing may depend on the numbers: whole rows are computed there."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def _starts_in_graph(asked: Asked) -> bool:
    """Whether a graph starts a cache: then `_cache` could not look whether documents follow each other."""
    return _tracing() and asked.past_key_values is None


def _check_shapes(asked: Asked, x: Tensor) -> None:
    """Refuse masks and positions that are none of these rows'."""
    rows, length = x.shape[:2]
    mask, given = asked.attention_mask, asked.position_ids
    if given is not None and (given.ndim != 2 or given.shape[1] != length or given.shape[0] not in (1, rows)):
        raise ArgumentError(f"position_ids are {tuple(given.shape)}, the rows {(rows, length)}")
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 4):
        what = f"of {mask.ndim} dimensions" if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
        raise ArgumentError(f"attention_mask is {what}; a tensor [B, N], or [B, 1, N, L] for who sees whom, is needed")
    if mask.shape[0] != rows and not (mask.ndim == 4 and mask.shape[0] == 1):
        raise ArgumentError(f"attention_mask is {tuple(mask.shape)}, the rows are {(rows, length)}")


def _has_full_mask(asked: Asked) -> bool:
    return asked.attention_mask is not None and asked.attention_mask.ndim == 4


def _forest(body: LlamaBody, asked: Asked) -> BaseModelOutputWithPast:
    """The suite's own layout: one flat run."""
    plan = asked.forest_plan
    assert plan is not None
    if asked.attention_mask is not None or asked.past_key_values is not None or asked.use_cache:
        raise ArgumentError(
            "a forest_plan says who attends to whom; attention_mask, past_key_values and use_cache cannot"
        )
    given = asked.input_ids if asked.inputs_embeds is None else asked.inputs_embeds
    assert given is not None
    if given.shape[:2] != (1, len(plan.positions)):
        raise ArgumentError(
            f"the forest_plan lays out one row of {len(plan.positions)} tokens, the input is {tuple(given.shape)}"
        )
    x = body.embed_tokens(given[0]) if asked.inputs_embeds is None else given[0]
    positions = plan.positions if asked.position_ids is None else asked.position_ids[0]
    seen: list[Tensor] | None = [] if asked.output_hidden_states else None
    hidden = body.through(x, positions, lambda _, q, k, v: forest_attention(q, k, v, plan), seen=seen)
    states = None if seen is None else tuple(state[None] for state in seen)
    return BaseModelOutputWithPast(last_hidden_state=hidden[None], hidden_states=states)


def _rows_as_forest(body: LlamaBody, x: Tensor, asked: Asked) -> BaseModelOutputWithPast:
    """Rows without a cache: every row's tokens (every document's, in a packed row) a root, padding left out."""
    rows, length = x.shape[:2]
    kept = x.new_ones(rows, length, dtype=torch.bool)
    if asked.attention_mask is not None:
        kept = asked.attention_mask.bool()
        if kept.shape != x.shape[:2]:
            raise ArgumentError(f"attention_mask is {tuple(kept.shape)}, the rows are {(rows, length)}")
    begins = torch.zeros_like(kept)
    if asked.position_ids is not None:
        begins = _document_begins(asked.position_ids.expand(rows, -1), asked.attention_mask, skips=True)
    lengths = _document_lengths(kept, begins)
    positions = _positions(asked, rows, length, 0, x.device)[kept]
    plan = plan_attention(Forest.roots(lengths), x.device)
    seen: list[Tensor] | None = [] if asked.output_hidden_states else None
    hidden = body.through(
        x[kept],
        positions,
        lambda _, q, k, v: forest_attention(q, k, v, plan),
        length=longest(cast(LlamaConfig, body.config), positions),
        seen=seen,
    )

    def padded(flat: Tensor) -> Tensor:
        out = flat.new_zeros(rows, length, flat.shape[-1])
        out[kept] = flat
        return out

    states = None if seen is None else tuple(padded(state) for state in seen)
    return BaseModelOutputWithPast(last_hidden_state=padded(hidden), hidden_states=states)


def _whole_rows(body: LlamaBody, x: Tensor, asked: Asked, cache: Cache | None) -> BaseModelOutputWithPast:
    """Rows with their padding, over a cache or under a mask of the caller's."""
    rows, length, width = x.shape
    documents = None
    if asked.position_ids is not None and not _has_full_mask(asked) and (cache is None or _starts_in_graph(asked)):
        positions = asked.position_ids.expand(rows, -1)
        documents = _document_begins(positions, asked.attention_mask, skips=cache is None).cumsum(-1)
    attend = RowAttention(rows, length, asked.attention_mask, cache, documents)
    positions = _positions(asked, rows, length, attend.past, x.device).reshape(-1)
    seen: list[Tensor] | None = [] if asked.output_hidden_states else None
    hidden = body.through(
        x.reshape(-1, width),
        positions,
        attend,
        length=longest(cast(LlamaConfig, body.config), positions),
        seen=seen,
    )
    states = None if seen is None else tuple(state.view(rows, length, width) for state in seen)
    return BaseModelOutputWithPast(
        last_hidden_state=hidden.view(rows, length, width), past_key_values=cache, hidden_states=states
    )


def _cache(body: LlamaBody, asked: Asked) -> Cache | None:
    """The cache to fill, if any."""
    given, wanted = asked.past_key_values, asked.use_cache
    if given is not None and not isinstance(given, Cache):
        raise ArgumentError(f"past_key_values is a {type(given).__name__}; one of transformers' caches is needed")
    again = body.gradient_checkpointing and body.training and torch.is_grad_enabled()
    if again and (given is not None or wanted):
        raise ArgumentError(
            "gradient checkpointing runs every layer twice, which would fill a cache twice; use_cache=False"
        )
    if given is None and wanted is None:
        wanted = bool(body.config.use_cache) and not again
    if given is None and not wanted:
        return None
    if not _tracing() and _goes_back(asked):
        if given is None and asked.use_cache is None:
            return None
        raise ArgumentError("position_ids begin anew within a row; packed documents cannot be continued from a cache")
    return DynamicCache(config=body.config) if given is None else given


def _goes_back(asked: Asked) -> bool:
    """Whether documents follow each other within a row."""
    given = asked.position_ids
    if given is None or given.shape[1] == 1 or _has_full_mask(asked):
        return False
    mask = None if asked.attention_mask is None else asked.attention_mask[:, -given.shape[1] :]
    positions = given if mask is None else given.expand(len(mask), -1)
    return bool(_document_begins(positions, mask, skips=False).any())


def _document_begins(position_ids: Tensor, mask: Tensor | None, *, skips: bool) -> Tensor:
    """Where a document begins within a row, [B, N]; never at a row's first token, nor at padding.

    Args:
        position_ids: [B, N].
        mask: [B, N], 0 at padding, whose positions mean nothing; or None.
        skips: whether a position that skips ahead begins one too (without a mask).
    """
    if mask is None:
        step = torch.diff(position_ids, prepend=position_ids[:, :1] - 1, dim=-1)
        return step != 1 if skips else step < 1
    real = mask.to(position_ids.device).bool()
    places = torch.arange(real.shape[1], device=real.device)
    last = torch.where(real, places, -1).cummax(-1).values  # the last token up to here
    before = pad(last[:, :-1], (1, 0), value=-1)
    return real & (before >= 0) & (position_ids <= position_ids.gather(1, before.clamp(min=0)))


def _document_lengths(kept: Tensor, begins: Tensor) -> list[int]:
    """Tokens of every document of every row, in order; a row without tokens has one of 0."""
    if not kept.numel():
        return [0] * len(kept)
    numbers = begins.cumsum(-1)
    counts = numbers.new_zeros(len(kept), int(numbers.max()) + 1)
    counts.scatter_add_(1, numbers, kept.to(counts.dtype))
    used = torch.arange(counts.shape[1], device=counts.device) <= numbers.amax(-1, keepdim=True)
    lengths: list[int] = counts[used].tolist()
    return lengths


def _positions(asked: Asked, rows: int, length: int, past: int | Tensor, device: torch.device) -> Tensor:
    """Each token's position, [B, N]: the given one, or counted from its row's first token."""
    if asked.position_ids is not None:
        return asked.position_ids.expand(rows, -1)
    columns = (torch.arange(length, device=device) + past).expand(rows, -1)
    if asked.attention_mask is None or asked.attention_mask.ndim != 2:
        return columns
    first = asked.attention_mask.to(device).int().argmax(-1, keepdim=True)
    return (columns - first).clamp(min=0)
