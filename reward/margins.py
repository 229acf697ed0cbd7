"""The margin m(r) of the ranking loss by grade (Llama 2 paper, 3.2.2, table 27).  No torch.

The paper's two tables and none stand here by name; a recipe may give numbers of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

from alignment.records import GRADES, Grade

MarginName = Literal["none", "small", "large"]
Margin = MarginName | Mapping[Grade, float]  # a table by name, or one's own: grade -> margin

MARGINS: Mapping[MarginName, Mapping[Grade, float]] = MappingProxyType(
    {
        "none": MappingProxyType({"significantly": 0.0, "better": 0.0, "slightly": 0.0, "negligibly": 0.0}),
        "small": MappingProxyType({"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0}),
        "large": MappingProxyType({"significantly": 3.0, "better": 2.0, "slightly": 1.0, "negligibly": 0.0}),
    }
)


def margin_of(grade: Grade | None, margin: Margin) -> float:
    """m(r); a pair without a grade, and a grade that one's own table leaves out, has margin 0."""
    if grade is None:
        return 0.0
    table = MARGINS[margin] if isinstance(margin, str) else margin
    return table.get(grade, 0.0)


def margin_fault(margin: Any) -> str | None:
    """What is wrong with a margin that somebody wrote, as a sentence; None where nothing is."""
    there = ", ".join(reversed(GRADES))
    if isinstance(margin, str):
        names = get_args(MarginName)
        return None if margin in names else f"is {margin!r}; right are {', '.join(names)}, or {{grade: number}}"
    if not isinstance(margin, Mapping):
        return f"is {margin!r}; right are none, small, large, or {{grade: number}} of the grades {there}"
    if unknown := [str(grade) for grade in margin if grade not in GRADES]:
        return f"names the grade {unknown[0]!r}, which there is not; the grades are {there}"
    for grade, number in margin.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < float("inf"):
            return f"gives {grade} the margin {number!r}; a margin is a number, 0 or more"
    return None if margin else f"is empty; say none, or give the grades {there} numbers"
