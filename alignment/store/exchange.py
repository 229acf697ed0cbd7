"""Two names exchanged in one step, where the system can (Linux: `renameat2`).  No torch."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # an old kernel, or a file system that has no such call


def exchange(one: Path, other: Path) -> bool:
    """Exchange what two existing paths name, so that neither name is ever empty.

    Returns:
        Whether the system could; if not, nothing was touched.

    Raises:
        OSError: it could, but not with these (one is missing, no permission, a mount point).
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # a C library without it
        return False
    sys.audit("os.rename", str(one), str(other), -1, -1)  # as Python's own renames do
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
