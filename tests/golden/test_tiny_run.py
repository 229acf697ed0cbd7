"""The tiny run against the goldens: to the bit on the machine that wrote them, within bounds by quantity elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.machine import machine, processor
from tests.golden.write import first_losses, golden, tiny_run, whole_results
from tests.tolerances import GOLDEN_ELSEWHERE

pytestmark = pytest.mark.slow  # a whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("tiny") / "run")


def test_the_first_losses_of_every_stage_are_the_golden_ones(finished: Path) -> None:
    expected, losses = golden("losses"), first_losses(finished)
    assert losses.keys() == expected["losses"].keys()
    if machine() == expected["machine"]:
        assert losses == expected["losses"]
        return
    for stage, rows in expected["losses"].items():
        for row, wanted in zip(losses[stage], rows, strict=True):
            assert row.keys() == wanted.keys()
            for quantity, value in wanted.items():
                relative, absolute = GOLDEN_ELSEWHERE[quantity]
                assert row[quantity] == pytest.approx(value, rel=relative, abs=absolute), (stage, quantity)


def test_the_whole_results_are_the_golden_ones(finished: Path) -> None:
    expected, found = golden("results"), whole_results(finished)
    if machine() == expected["machine"]:
        assert found == expected["results"]
    else:  # a sum in another order may turn a sampled token, and with it everything that follows: only the form holds
        assert form(found) == form(expected["results"])


def test_one_processor_is_told_from_another() -> None:
    intel = "processor : 0\nvendor_id : GenuineIntel\nmodel : 143\nmodel name : Xeon\nflags : sse4_2 avx2 amx_tile\n\n"
    older = intel.replace(" amx_tile", "")
    other = intel.replace("143", "106")
    assert processor(intel) == processor(intel + intel.replace("processor : 0", "processor : 1"))
    assert len({tuple(processor(text).items()) for text in (intel, older, other)}) == 3


def test_another_choice_of_kernels_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2_OF_A_TEST")
    assert machine() != here


def form(results: dict[str, Any]) -> Any:
    """Which stages, entries of results, files, sections and blocks there are."""
    stages = {name: (sorted(stage["result"]), sorted(stage["files"])) for name, stage in results["stages"].items()}
    sections = {
        name: (section["status"], sorted(section["blocks"])) for name, section in results["report"]["sections"].items()
    }
    return stages, sections
