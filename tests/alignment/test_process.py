"""How long waiting OpenMP threads spin, whoever imports what first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# two threads that share one processor: each region waits for a thread that has no processor to run on
CROWDED = """
import os, sys, time
{first}
import torch
{later}
torch.set_num_threads(2)
numbers = torch.randn(1 << 17)
numbers.exp()  # the team is there
{settle}
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
began, regions = time.perf_counter(), 0
while time.perf_counter() - began < 0.4:
    numbers.exp()
    regions += 1
print(regions)
"""
SETTLE = "from alignment.process import settle; print(settle(2).name)"


def child(code: str, **environment: str) -> list[str]:
    """What a fresh process prints; OpenMP of its own choice unless the test says."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return (done.stdout + done.stderr).split("\n")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one processor libgomp never spins for long")
@pytest.mark.parametrize(("first", "how"), [("import alignment", "SET"), ("", "HELD")])
def test_threads_that_share_a_processor_do_not_spin_each_other_to_a_crawl(first: str, how: str) -> None:
    plain = int(child(CROWDED.format(first="", later="", settle=""))[0])
    found = child(CROWDED.format(first=first, later="import alignment", settle=SETTLE))
    assert found[0] == how
    assert int(found[1]) > 3 * plain


@pytest.mark.parametrize("package", ["alignment", "reward", "rl", "gatt", "recipes"])
def test_importing_a_package_sets_it_before_torch_is_there(package: str) -> None:
    assert child(f"import os, {package}; print(os.environ['GOMP_SPINCOUNT'])")[0] == "1000"


def test_the_openmp_of_torch_reads_what_was_set() -> None:
    found = child("import alignment, torch", OMP_DISPLAY_ENV="VERBOSE")
    assert "GOMP_SPINCOUNT = '1000'" in " ".join(found)


@pytest.mark.parametrize("said", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE"}])
def test_what_the_user_said_stands(said: dict[str, str]) -> None:
    code = f"import os, alignment\n{SETTLE}; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert child(code, **said)[:2] == ["SAID", str(said.get("GOMP_SPINCOUNT"))]


def test_it_is_told_once() -> None:
    code = (
        "import logging, alignment\nlogging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s')\n"
        "from alignment.process import settle\nsettle(1); settle(2); settle(2)"
    )
    told = [line for line in child(code) if line.startswith("alignment:")]
    assert told == [
        "alignment: waiting OpenMP threads spin for a moment (GOMP_SPINCOUNT=1000, set by `import alignment`)"
    ]


def test_where_nothing_helps_a_warning_names_the_line_to_set() -> None:
    # a torch that is loaded, and no libgomp to hold threads in
    code = f"import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n{SETTLE}"
    assert any("import alignment before it, or export GOMP_SPINCOUNT=1000" in line for line in child(code))
