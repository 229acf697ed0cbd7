"""What of a settings value decides a result, and so stands in fingerprints."""

from __future__ import annotations

import pytest

from alignment.settings import Settings, setting


class Inner(Settings):
    depth: int = setting(1, "an old field")
    extra: tuple[int, ...] = setting((), "came after a release", added=True)


class Outer(Settings):
    width: int = setting(1, "an old field")
    shown: bool = setting(True, "changes no result", cosmetic=True)
    inner: Inner = setting(Inner(), "nested")
    late: Inner | None = setting(None, "a nested group that came after a release", added=True)


def test_a_cosmetic_field_is_left_out() -> None:
    assert Outer(shown=False).fingerprint_values() == Outer().fingerprint_values()


def test_an_added_field_is_left_out_while_it_holds_its_default() -> None:
    assert Outer().fingerprint_values() == {"width": 1, "inner": {"depth": 1}}
    assert Outer(late=None, inner=Inner(extra=())).fingerprint_values() == Outer().fingerprint_values()


def test_an_added_field_counts_once_it_is_given_another_value() -> None:
    values = Outer(late=Inner(extra=(2,)), inner=Inner(extra=(3,))).fingerprint_values()
    assert values == {"width": 1, "inner": {"depth": 1, "extra": [3]}, "late": {"depth": 1, "extra": [2]}}


def test_an_added_field_needs_a_default() -> None:
    with pytest.raises(TypeError, match="needs a default"):
        setting(..., "what it does", added=True)
