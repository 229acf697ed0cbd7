"""S7, S8, S12: a whole run tells no secret, calls nobody, and leaves files as the umask says.

One run of the tiny recipe with canary secrets in its environment, every connection recorded and refused, in an empty
network namespace where the machine allows one; and one that fails on data whose address holds a password.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tiny_recipe import BRITTLE

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "HF_TOKEN": "hf_canaryAAAA1111",
    "OPENAI_API_KEY": "sk-canaryBBBB2222",
    "MY_SECRET_KEY": "canaryCCCC3333",
    "AWS_SECRET_ACCESS_KEY": "canaryDDDD4444",
}
PASSWORD = "canaryEEEE5555"
HOME = "home-of-canaryFFFF6666"
# loaded by Python before anything else: writes down and refuses every connection, and notes the first heavy import
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

socket.socket.connect = refuse("connect")
socket.socket.connect_ex = refuse("connect_ex")
socket.getaddrinfo = refuse("getaddrinfo")
socket.create_connection = refuse("create_connection")

class Watch:
    def find_spec(self, name, *_):
        if name in ("torch", "transformers", "datasets", "accelerate", "huggingface_hub"):
            off = os.environ.get("HF_HUB_DISABLE_TELEMETRY")
            note(f"import {name} telemetry-off={off}")
        return None

sys.meta_path.insert(0, Watch())
"""


@dataclass(frozen=True)
class Done:
    """A run in a process of its own: exit code, all that it said, its folder, and what was noted about it."""

    code: int
    said: str
    folder: Path
    notes: list[str]
    temporary: Path


def run_watched(place: Path, *arguments: str) -> Done:
    """`align run` with canaries all around it."""
    home, temporary, site = place / HOME, place / "temporary", place / "site"
    for folder in (home, temporary, site):
        folder.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    log = place / "notes.txt"
    log.touch()
    command = [sys.executable, "-m", "recipes.cli", "run", *arguments, "--out", str(place / "run")]
    if no_network() is None:
        command = ["unshare", "-rn", *command]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": f"{site}:{ROOT}",
        "CANARY_LOG": str(log),
        "OMP_NUM_THREADS": "1",
        **SECRETS,
    }
    ended = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, umask=0o027)
    notes = log.read_text().splitlines()
    return Done(ended.returncode, ended.stdout + ended.stderr, place / "run", notes, temporary)


def no_network() -> str | None:
    """Why no empty network namespace can be made here; None if one can."""
    try:
        tried = subprocess.run(["unshare", "-rn", "true"], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return None if tried.returncode == 0 else tried.stderr.strip()


def hits(done: Done, canaries: list[str]) -> list[str]:
    """Where a canary shows: in what was said, or in a file of the run."""
    found = [f"output: {canary}" for canary in canaries if canary in done.said]
    for path in done.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += [f"{path}: {canary}" for canary in canaries if canary.encode() in data]
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return run_watched(tmp_path_factory.mktemp("leaks").resolve(), "quickstart", *BRITTLE)


def test_a_whole_run_needs_no_network_and_calls_nobody(done: Done) -> None:
    assert done.code == 0, done.said
    assert [note for note in done.notes if not note.startswith("import")] == []


def test_telemetry_is_off_before_the_first_import_that_could_send_any(done: Done) -> None:
    imports = [note for note in done.notes if note.startswith("import")]
    assert any("torch" in note for note in imports)
    assert [note for note in imports if not note.endswith("telemetry-off=1")] == []


def test_no_secret_of_the_environment_is_told_or_written(done: Done) -> None:
    assert len(list(done.folder.rglob("*"))) > 100
    assert hits(done, [*SECRETS.values()]) == []


def test_the_home_folders_name_is_not_written(done: Done) -> None:
    assert hits(done, [HOME]) == []


def test_files_keep_the_umask_and_nothing_is_left_elsewhere(done: Done) -> None:
    for path in [done.folder, *done.folder.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & 0o027 == 0, f"{path} has mode {mode:o}"
        assert mode & 0o700 == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"
    assert [path for path in done.temporary.rglob("*") if path.is_file()] == []


def test_a_run_that_fails_on_an_address_with_a_password_does_not_tell_it(tmp_path: Path) -> None:
    address = f"https://user:{PASSWORD}@example.org/rows.jsonl"
    failed = run_watched(tmp_path.resolve(), "quickstart", *BRITTLE, f"sft.data.train=[{{path: '{address}'}}]")
    assert failed.code != 0
    assert "example.org" in failed.said
    assert hits(failed, [PASSWORD, *SECRETS.values(), HOME]) == []


def test_a_recipe_keeps_the_names_of_variables_and_not_their_values(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("base: quickstart\ndescription: 'run by ${MY_SECRET_KEY}'\n")
    done = run_watched(tmp_path.resolve() / "place", str(recipe), *BRITTLE, "--until", "tokenizer")
    assert hits(done, [*SECRETS.values()]) == []
    if done.code == 0:
        assert "${MY_SECRET_KEY}" in (done.folder / "recipe.yaml").read_text()
    else:
        assert "MY_SECRET_KEY" in done.said or "base" in done.said
