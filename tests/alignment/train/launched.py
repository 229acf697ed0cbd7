"""Processes of one launch in a test: an interpreter of their own that forks them, and ports for them to meet at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

torch_distributed = pytest.importorskip("torch.distributed")
STARTS_PROCESSES = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (torch_distributed.is_available() and torch_distributed.is_gloo_available()),
        reason="this torch has no gloo to talk between processes on a CPU",
    ),
]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def run_program(program: str, *arguments: str, seconds: int) -> None:
    """Run a program in an interpreter of its own, which must end well; one that hangs is killed with its children."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as parent:
        try:
            said, _ = parent.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(parent.pid, signal.SIGKILL)
            raise
    assert parent.returncode == 0, said[-3000:]
