"""S7, S8, S12: a whole run tells no secret, calls nobody, and leaves files as the umask says."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.faults.watched import HOME, PASSWORD, SECRETS, UMASK, Watched, watched_place, why_no_namespace
from tests.tiny_recipe import BRITTLE

CANARIES = [*SECRETS.values(), PASSWORD, HOME]


def test_a_whole_run_needs_no_network_and_calls_nobody(watched: Watched) -> None:
    assert watched.codes == [0, 0, 0, 0], watched.said
    assert [note for note in watched.notes if not note.startswith("import")] == []


def test_telemetry_is_off_before_the_first_import_that_could_send_any(watched: Watched) -> None:
    imports = [note for note in watched.notes if note.startswith("import")]
    assert any("torch" in note for note in imports)
    assert [note for note in imports if not note.endswith("telemetry-off=1")] == []


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('example.org', 443))",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.getaddrinfo('example.org', 443)",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
        "__import__('urllib.request').request.urlopen('http://example.org')",
    ],
)
def test_a_connection_would_be_noted_and_refused(attempt: str, tmp_path: Path) -> None:
    place = watched_place(tmp_path)
    assert place.call("-c", f"import socket; {attempt}") == 1
    assert len(place.notes) == 1


@pytest.mark.skipif(why_no_namespace() is not None, reason=f"no network namespace here: {why_no_namespace()}")
def test_the_network_namespace_is_empty(tmp_path: Path) -> None:
    place = watched_place(tmp_path)
    assert place.call("-c", "print(open('/proc/net/dev').read())") == 0
    assert [line.split(":")[0].strip() for line in place.said.splitlines()[2:] if line] == ["lo"]


def test_no_secret_and_no_home_folder_is_told_or_written_by_run_stages_plan_and_report(watched: Watched) -> None:
    assert len(list(watched.run.rglob("*"))) > 100
    assert watched.hits(CANARIES) == []


def test_a_secret_that_a_recipe_asks_for_stands_by_its_name(watched: Watched) -> None:
    assert "run by ${MY_SECRET_KEY}" in (watched.run / "recipe.yaml").read_text()
    assert "${MY_SECRET_KEY}" in (watched.run / "report" / "index.html").read_text()


def test_files_keep_the_umask_and_nothing_is_left_elsewhere(watched: Watched) -> None:
    for path in [watched.run, *watched.run.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & UMASK == 0, f"{path} has mode {mode:o}"
        assert mode & 0o700 == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"
    assert [path for path in watched.temporary.rglob("*") if path.is_file()] == []
    assert [path.name for path in watched.run.rglob("*") if path.name.startswith(".") and path.name != ".lock"] == []


def test_a_run_that_fails_on_an_address_with_a_password_does_not_tell_it(tmp_path: Path) -> None:
    place = watched_place(tmp_path)
    address = f"https://user:{PASSWORD}@example.org/rows.jsonl"
    assert place.align("run", "quickstart", *BRITTLE, f"sft.data.train=[{{path: '{address}'}}]", "--out", "run") != 0
    assert "example.org" in place.said
    assert place.hits(CANARIES) == []


def test_a_traceback_that_holds_secrets_is_kept_without_them(tmp_path: Path) -> None:
    place = watched_place(tmp_path)
    fault = f"denied: {SECRETS['HF_TOKEN']} at https://me:{PASSWORD}@example.org for {place.home}/data"
    command = ["run", "quickstart", *BRITTLE, "--until", "tokenizer", "--out", "run"]
    assert place.align(*command, fault=fault) == 1
    log = (place.run / "log.txt").read_text()
    assert "Traceback" in log
    assert "denied: ${HF_TOKEN} at https://***@example.org for ~/data" in log
    assert "denied" in place.said
    assert place.hits(CANARIES) == []
