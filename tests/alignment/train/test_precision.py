"""`precision: auto` goes by a measured table, not by the clock: the same machine chooses the same on every start."""

from __future__ import annotations

import pytest

from alignment.train.compute import fast_bf16

MACHINES = [
    ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", True),  # 1.2 to 1.9 times fp32
    ("GenuineIntel", "avx512f avx512_bf16", False),  # 0.7 times fp32, on a small model and a larger one
    ("AuthenticAMD", "avx512f avx512_bf16", True),  # 1.5 times fp32
    ("AuthenticAMD", "avx2 fma", False),
    ("GenuineIntel", "avx512f", False),
]


@pytest.mark.parametrize(("vendor", "flags", "faster"), MACHINES)
def test_bf16_is_chosen_where_it_was_measured_to_be_faster(vendor: str, flags: str, faster: bool) -> None:
    assert fast_bf16(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n") is faster


def test_a_machine_that_does_not_say_what_it_is_computes_in_fp32() -> None:
    assert not fast_bf16("")
