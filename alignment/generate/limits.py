"""How many answers decode together at most, and for what share of the free memory.  No torch."""

MAX_SLOTS = 256
SHARE = {"cuda": 0.8, "cpu": 0.5}  # of what is free: beside the cache stand logits, and on a CPU other programs
