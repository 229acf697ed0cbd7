"""Sizes that follow from settings alone: parameters and tokens.  No torch, nothing is built."""

from __future__ import annotations

from alignment.model.settings import ModelSettings
from alignment.train.settings import LoopSettings


def num_parameters(model: ModelSettings, vocab_size: int) -> int:
    """Parameters of the core (Llama 2 paper, table 1), shared ones once.

    Embedding, then a layer: query and output [W, W], key and value [W, W/heads*kv_heads], three
    feed-forward matrices [W, F], two norms [W]; a last norm; the projection unless it is tied.
    """
    width, layers, heads, kv_heads, hidden = model.shape()
    kv_width = width // heads * kv_heads
    layer = 2 * width * width + 2 * width * kv_width + 3 * width * hidden + 2 * width
    embeddings = vocab_size * width * (1 if model.tie_embeddings else 2)
    return embeddings + layers * layer + width


def tokens_a_step(settings: LoopSettings) -> int | None:
    """Most tokens of one step where a step is packed forests; None where it is pairs or prompts."""
    batch, pack = getattr(settings, "batch_size", None), getattr(settings, "pack_length", None)
    context = getattr(settings, "context_length", None)
    if batch is None or context is None or pack is None:
        return None
    return int(batch) * int(pack or context)
