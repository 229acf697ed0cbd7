"""An append-only journal of JSON lines with checksums, whose torn last line is cut and reported.  No torch.

Rollouts, verdicts and metrics are appended as they arrive; after a crash the whole lines are the
truth and the torn rest of the last one is cut off before anything is appended.  Each line carries its checksum
(`alignment.store.sealed`), so that a changed bit is refused and not resumed from; journals from before there were
checksums are read as they are.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from alignment.errors import CheckpointError
from alignment.store.atomic import space_explained
from alignment.store.closing import Closing
from alignment.store.regular import file_kind, open_regular, read_regular
from alignment.store.sealed import BrokenSeal, sealed_line, unseal


class Journal(Closing):
    """Opens (or makes) a journal, mends its tail, and appends records.

    Args:
        path: the file; its parent must exist.

    Raises:
        CheckpointError: a line is damaged or was altered, or what stands there is a link, a pipe or a device, whose
            content would not be the journal's.

    Attributes:
        records: what was there when it was opened, plus what was appended since.
        cut_bytes: how many bytes of a torn last line were cut off on opening (0: none).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_symlink():
            raise _no_journal(path, "a symbolic link")
        self.records, whole = _read_whole_lines(path)
        size = path.stat().st_size if path.exists() else 0
        self.cut_bytes = size - whole
        self._file = _open_for_appending(path)
        if self.cut_bytes:
            os.ftruncate(self._file.fileno(), whole)
            os.fsync(self._file.fileno())

    def append(self, record: Mapping[str, Any], *, flush: bool = True) -> None:
        """Append one record; `flush` puts it on the disk before returning."""
        self.append_all([record], flush=flush)

    def append_all(self, records: Iterable[Mapping[str, Any]], *, flush: bool = True) -> None:
        """Append several records with one flush to disk.

        Raises:
            DiskFull: no space left; a torn last line is cut when the journal is opened again.
            ValueError: a record holds NaN, an infinity or a member `sha256`; none of the records is appended.
        """
        new = [dict(record) for record in records]
        data = b"".join(map(sealed_line, new))
        with space_explained(self.path, len(data)):
            self._file.write(data)
            self._file.flush()
            if flush:
                os.fsync(self._file.fileno())
        self.records += new

    def rewind(self, keep: int) -> None:
        """Keep only the first `keep` records (what came after a checkpoint is done again)."""
        if keep >= len(self.records):
            return
        self._file.flush()
        with open_regular(self.path) as file:
            for _ in range(keep):
                file.readline()
            whole = file.tell()
        os.ftruncate(self._file.fileno(), whole)
        os.fsync(self._file.fileno())
        del self.records[keep:]

    def close(self) -> None:
        """Flush to disk and close."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The whole records of a journal that somebody else may be writing; a torn tail is left out.

    Raises:
        CheckpointError: a line is damaged, or its checksum does not fit; names file and line.
    """
    return _read_whole_lines(path)[0]


def _read_whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    if not path.exists():
        return [], 0
    try:
        data = read_regular(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read as a journal ({error.strerror})") from None
    records: list[dict[str, Any]] = []
    whole, checked = 0, False
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record, sealed = unseal(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except BrokenSeal as error:
            if number == len(lines) - 1 and not lines[-1] and not _is_json(line):
                break  # torn inside all the same: a crash may keep a write's end and lose its middle
            raise CheckpointError(
                f"{path}:{number} was altered ({error}); the journal is damaged, and the work that it holds must be "
                f"done again: move it away"
            ) from None
        except (ValueError, RecursionError) as error:
            if number == len(lines) - 1 and not lines[-1]:
                break  # a last line that was torn inside and closed by a later newline cannot be trusted
            raise CheckpointError(
                f"{path}:{number} is not a whole JSON object ({error}); the journal is damaged"
            ) from None
        if checked and not sealed:  # only lines from before there were checksums have none, and they come first
            raise CheckpointError(f"{path}:{number} has no checksum, the lines before it have; the journal is damaged")
        checked = sealed
        records.append(record)
        whole += len(line) + 1
    return records, whole


def _open_for_appending(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _no_journal(path, "a symbolic link") from None
        raise
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise _no_journal(path, file_kind(mode))
    return os.fdopen(handle, "ab")


def _no_journal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} is {what}; a journal is a file of its own there: move it away")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
