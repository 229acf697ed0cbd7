"""`align` in processes of their own, with canaries all around: secrets, a home folder, a place for temporary files.

Every connection is written down and refused by a `sitecustomize` that Python loads before anything else; where the
machine allows, the process also stands in a network namespace of its own, with nothing in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "HF_TOKEN": "hf_canaryAAAA1111",
    "OPENAI_API_KEY": "sk-canaryBBBB2222",
    "MY_SECRET_KEY": "canaryCCCC3333",
    "AWS_SECRET_ACCESS_KEY": "canaryDDDD4444",
}
PASSWORD = "canaryEEEE5555"
HOME = "home-of-canaryFFFF6666"
UMASK = 0o027
# also notes the first heavy imports, and where CANARY_FAULT says so lets one of them fail, telling what it knows
SITECUSTOMIZE = """
import os, socket, sys

def note(text):
    with open(os.environ["CANARY_LOG"], "a") as file:
        file.write(text + "\\n")

def refuse(name):
    def call(*arguments, **_):
        note(f"{name} {arguments[-1]!r}")
        raise OSError("this run may call nobody")
    return call

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse(name))
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse(name))

class Watch:
    def find_spec(self, name, *_):
        if name in ("torch", "transformers", "datasets", "accelerate", "huggingface_hub"):
            off = os.environ.get("HF_HUB_DISABLE_TELEMETRY")
            note(f"import {name} telemetry-off={off}")
        if name == "sentencepiece" and "CANARY_FAULT" in os.environ:
            raise RuntimeError(os.environ["CANARY_FAULT"])
        return None

sys.meta_path.insert(0, Watch())
"""


@dataclass
class Watched:
    """A place with a home, a folder for temporary files, and all that was said and noted there.

    Attributes:
        said: standard output and error of every call.
        codes: exit codes, call by call.
    """

    place: Path
    said: str = ""
    codes: list[int] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The home folder, which is also the current folder."""
        return self.place / HOME

    @property
    def run(self) -> Path:
        """The run's folder, which the commands know as `run`."""
        return self.home / "run"

    @property
    def temporary(self) -> Path:
        """Where TMPDIR points."""
        return self.place / "temporary"

    @property
    def notes(self) -> list[str]:
        """Connections tried, heavy imports."""
        return (self.place / "notes.txt").read_text().splitlines()

    def hits(self, canaries: list[str]) -> list[str]:
        """Where a canary shows: in what was said, or in a file that was left anywhere."""
        found = [f"output: {canary}" for canary in canaries if canary in self.said]
        for path in [*self.home.rglob("*"), *self.temporary.rglob("*")]:
            if path.is_file():
                data = path.read_bytes()
                found += [f"{path.name}: {canary}" for canary in canaries if canary.encode() in data]
        return found

    def call(self, *arguments: str, fault: str | None = None) -> int:
        """Run a Python command line here and return its exit code."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": f"{self.place / 'site'}:{ROOT}",
            "CANARY_LOG": str(self.place / "notes.txt"),
            "OMP_NUM_THREADS": "1",
            **({"CANARY_FAULT": fault} if fault else {}),
            **SECRETS,
        }
        apart = ["unshare", "-rn"] if why_no_namespace() is None else []
        ended = subprocess.run(
            [*apart, sys.executable, *arguments],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            umask=UMASK,
        )
        self.said += ended.stdout + ended.stderr
        self.codes.append(ended.returncode)
        return ended.returncode

    def align(self, *arguments: str, fault: str | None = None) -> int:
        """Run `align` here and return its exit code."""
        return self.call("-m", "recipes.cli", *arguments, fault=fault)


def watched_place(place: Path) -> Watched:
    """A fresh place for watched commands."""
    made = Watched(place=place.resolve())
    for folder in (made.home, made.temporary, made.place / "site"):
        folder.mkdir(parents=True)
    (made.place / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (made.place / "notes.txt").touch()
    return made


@cache
def why_no_namespace() -> str | None:
    """Why no empty network namespace can be made here; None if one can."""
    try:
        tried = subprocess.run(["unshare", "-rn", "true"], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return None if tried.returncode == 0 else tried.stderr.strip() or "unshare failed"
