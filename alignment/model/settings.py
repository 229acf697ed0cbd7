"""Settings of the core: a named size, own dimensions, or an existing checkpoint.  No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from alignment.settings import Settings, setting

SizeName = Literal["7b", "13b", "34b", "70b", "tiny", "small", "custom"]

# width, layers, heads, KV heads, multiple_of, ffn_dim_multiplier (Llama 2 paper, table 1; params.json)
SIZES: dict[str, tuple[int, int, int, int, int, float | None]] = {
    "7b": (4096, 32, 32, 32, 256, None),
    "13b": (5120, 40, 40, 40, 256, None),
    "34b": (8192, 48, 64, 8, 256, 1.0),
    "70b": (8192, 80, 64, 8, 4096, 1.3),
    "tiny": (32, 2, 2, 1, 16, None),  # ours, for tests
    "small": (128, 4, 4, 2, 32, None),  # ours, for a laptop
}


def names_folder(path: str) -> bool:
    """Whether a checkpoint's path is a local folder's, not a hub name (`owner/name` that is no folder here)."""
    looks_like_hub = path.count("/") == 1 and not path.startswith((".", "/", "~"))
    return not looks_like_hub or Path(path).exists()


def feed_forward_width(width: int, multiple_of: int, multiplier: float | None = None) -> int:
    """Meta's rule: two thirds of 4*width, times the multiplier, rounded up to a multiple."""
    hidden = int(2 * (4 * width) / 3)
    if multiplier is not None:
        hidden = int(multiplier * hidden)
    return multiple_of * ((hidden + multiple_of - 1) // multiple_of)


def count_numbers(
    width: int, layers: int, heads: int, kv_heads: int, hidden: int, vocab_size: int, *, tied: bool
) -> int:
    """Numbers of a core of this shape, shared ones once.

    Embedding, then per layer: query and output [W, W], key and value [W, W/heads*kv_heads], three
    feed-forward matrices [W, F], two norms [W]; a last norm; the projection unless it is tied.
    """
    kv_width = width // heads * kv_heads
    layer = 2 * width * width + 2 * width * kv_width + 3 * width * hidden + 2 * width
    return vocab_size * width * (1 if tied else 2) + layers * layer + width


class ModelSettings(Settings):
    """The core's shape.  `path` takes an existing checkpoint instead."""

    path: str | None = setting(
        None, "a checkpoint folder or hub name to start from; the shape is read from it", file=names_folder
    )
    revision: str | None = setting(None, "the hub revision of `path`")
    size: SizeName = setting("small", "a named shape; `custom` takes the fields below")
    width: int | None = setting(None, "model width (custom)", ge=8)
    layers: int | None = setting(None, "decoder layers (custom)", ge=1)
    heads: int | None = setting(None, "query heads (custom)", ge=1)
    kv_heads: int | None = setting(None, "key/value heads; each serves heads/kv_heads query heads (custom)", ge=1)
    multiple_of: int = setting(32, "the feed-forward width is rounded up to a multiple of it (custom)", ge=1)
    ffn_dim_multiplier: float | None = setting(None, "scales the feed-forward width (custom)", gt=0, le=64)
    context_length: int = setting(4096, "most positions the model is built for", ge=16)
    rope_theta: float = setting(10_000.0, "base of the rotary angles", gt=1)
    norm_eps: float = setting(1e-5, "added to the mean square in RMSNorm", gt=0)
    tie_embeddings: bool = setting(False, "share the embedding with the vocabulary projection (LLaMA does not)")
    gradient_checkpointing: bool = setting(False, "recompute activations in the backward pass to save memory")

    @model_validator(mode="after")
    def _shape_is_whole(self) -> ModelSettings:
        own = {"width": self.width, "layers": self.layers, "heads": self.heads, "kv_heads": self.kv_heads}
        if self.size == "custom":
            missing = [name for name, value in own.items() if value is None]
            if missing and self.path is None:
                raise ValueError(f"size: custom needs {', '.join(missing)}")
        elif given := [name for name, value in own.items() if value is not None]:
            raise ValueError(f"{', '.join(given)} need size: custom; size is {self.size}")
        width, _, heads, kv_heads, _ = self.shape() if self.path is None else (8, 1, 1, 1, 8)
        if width % heads or (width // heads) % 2:
            raise ValueError(f"heads {heads} must divide width {width} into even head widths")
        if heads % kv_heads:
            raise ValueError(f"kv_heads {kv_heads} must divide heads {heads}")
        return self

    def num_parameters(self, vocab_size: int) -> int:
        """Parameters of the core (Llama 2 paper, table 1), shared ones once; nothing is built."""
        return count_numbers(*self.shape(), vocab_size, tied=self.tie_embeddings)

    def shape(self) -> tuple[int, int, int, int, int]:
        """width, layers, heads, KV heads, feed-forward width."""
        if self.size == "custom":
            own = (self.width, self.layers, self.heads, self.kv_heads)
            width, layers, heads, kv_heads = (value or 0 for value in own)  # none is missing: checked above
            multiple_of, multiplier = self.multiple_of, self.ffn_dim_multiplier
        else:
            width, layers, heads, kv_heads, multiple_of, multiplier = SIZES[self.size]
        return width, layers, heads, kv_heads, feed_forward_width(width, multiple_of, multiplier)
