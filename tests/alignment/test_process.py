"""How long waiting OpenMP threads spin: long on an idle machine, not beside others, whoever imports what first."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from alignment.process import Usage, crowded, usage

# two threads that share one processor: each region waits for a thread that has no processor to run on
CROWDED = """
import os, time
{first}
import torch
{later}
torch.set_num_threads(2)
numbers = torch.randn(1 << 17)
numbers.exp()  # the team is there
{settle}
for thread in os.listdir("/proc/self/task"):
    os.sched_setaffinity(int(thread), {{min(os.sched_getaffinity(0))}})
began, regions = time.perf_counter(), 0
while time.perf_counter() - began < 0.8:
    numbers.exp()
    regions += 1
print(regions)
"""
SETTLE = "from alignment.process import settle; print(settle(2).name)"
needs_two = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="with one processor libgomp lets no thread spin for long"
)


def child(code: str, **environment: str) -> list[str]:
    """What a fresh process prints; OpenMP of its own choice unless the test says."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return (done.stdout + done.stderr).split("\n")


@needs_two
@pytest.mark.parametrize("first", ["import alignment", ""])
def test_threads_that_share_a_processor_do_not_spin_each_other_to_a_crawl(first: str) -> None:
    plain = int(child(CROWDED.format(first="", later="", settle=""))[0])
    found = child(CROWDED.format(first=first, later="import alignment", settle=SETTLE))
    assert found[0] == "WATCHED"
    assert int(found[1]) > 3 * plain


@needs_two
def test_sleeping_threads_come_and_go() -> None:
    code = """
import os, time, torch
from alignment.process import SleepingThreads
torch.ones(1 << 20).exp()
maps = open("/proc/self/maps").read().splitlines()
team = SleepingThreads(sorted({line.split()[-1] for line in maps if "libgomp" in line}), 5)
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
for _ in range(3):
    team.hold(); held = count(); team.release()
    for _ in range(100):
        if count() == before: break
        time.sleep(0.01)
    print(held - before, count() - before)
torch.ones(1 << 20).exp()  # torch's own team still works
"""
    assert child(code)[:3] == ["5 0"] * 3  # the one that starts them and its team of five, itself among them


@pytest.mark.parametrize(
    ("others", "processors", "threads", "before", "now"),
    [
        (0.0, 2, 2, False, False),
        (1.0, 2, 2, False, True),
        (0.2, 2, 2, False, False),  # a little is no crowd
        (0.2, 2, 2, True, True),  # but none that ends
        (1.0, 4, 2, False, False),  # they have processors of their own
        (2.5, 4, 2, False, True),
        (0.0, 1, 2, False, True),  # our own threads crowd each other
    ],
)
def test_it_is_crowded_where_others_want_what_our_threads_use(
    others: float, processors: int, threads: int, before: bool, now: bool
) -> None:
    assert crowded(others, processors, threads, already=before) is now


def test_others_are_what_was_busy_without_us() -> None:
    one, other = Usage(clock=1.0, busy=10.0, own=4.0), Usage(clock=3.0, busy=13.0, own=5.0)
    assert one.others_until(other) == 1.0


def test_our_own_work_is_no_others_work() -> None:
    processors = os.sched_getaffinity(0)
    before = usage(processors)
    while time.process_time() - before.own < 0.3:
        pass
    now = usage(processors)
    assert now.busy - before.busy >= 0.25
    assert before.others_until(now) <= len(processors) - 0.3 / (now.clock - before.clock) + 0.2


@pytest.mark.parametrize("said", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE"}])
def test_what_the_user_said_stands(said: dict[str, str]) -> None:
    assert child(SETTLE, **said)[0] == "SAID"


def test_it_is_told_once() -> None:
    code = (
        "import logging, torch\nlogging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s')\n"
        "from alignment.process import settle\nsettle(1); settle(2); settle(2)"
    )
    told = [line for line in child(code) if line.startswith("alignment:")]
    assert told == ["alignment: waiting OpenMP threads spin only while no other process wants their processors"]


def test_where_nothing_helps_a_warning_names_the_line_to_set() -> None:  # no libgomp is loaded
    found = child(SETTLE)
    assert found[0] == "LONG"
    assert any("export GOMP_SPINCOUNT=100" in line for line in found[1:])
