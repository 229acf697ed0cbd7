"""Every tolerance of the tests, by name, with the reason for its size."""

from __future__ import annotations

# float32 has 24 bits (6e-8).  Two right implementations of a small transformer sum in different
# orders; over some hundred additions and two layers that grows to about 1e-6 of the largest value.
FP32 = 1e-4  # against another implementation: two decimal digits of head room
FP32_SAME_CODE = 1e-5  # our own code on another layout of the same numbers (bar R18)

# float64 has 53 bits (1e-16): whatever is wrong by more than rounding shows at these sizes.
FP64 = 1e-9  # against another implementation, relative
FP64_SAME_CODE = 1e-10  # our own code on another layout of the same numbers (bar R18), relative

# two processes sum the same gradients in another order, in float32, over a few optimizer steps
TWO_PROCESSES = 1e-6
