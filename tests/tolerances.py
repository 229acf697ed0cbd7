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

# the tiny run's golden losses on another processor or other kernels: (relative, absolute) by quantity.  Seen between
# three instruction sets of one processor and two processors: 2e-7, 1e-7, 8e-6 relative, 5e-7; some hundred times that.
# A policy loss is a sum of advantages that whitening makes cancel: only its absolute size means anything.
GOLDEN_ELSEWHERE = {
    "loss": (1e-4, 0.0),
    "policy_loss": (0.0, 1e-5),
    "value_loss": (1e-3, 0.0),
    "kl": (0.0, 1e-4),
}

# the share of choices on 200 pairs that eight annotators agree on: two standard errors (by pair 0.2 / sqrt 200)
AGREEMENT_OF_200 = 0.03

# standard errors that a share drawn at random may lie from its expectation: one in 16,000 does not
STANDARD_ERRORS = 4
