"""Files that are regular files: a pipe would wait for its other end, a device has none.  No torch."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading; whatever is no regular file is refused at once instead of waited for.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket or a device; `strerror` is the clause that
            belongs into a sentence.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, f"it is {file_kind(mode)}; a regular file is needed", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: see `open_regular`.
    """
    with open_regular(path) as file:
        return file.read()


def file_kind(mode: int) -> str:
    """What a file that is neither regular nor a folder is called."""
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")
