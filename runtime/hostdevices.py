"""The devices of this host, as a privileged container gets them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

# The container has its own of these.
OWN = ("pts", "shm", "mqueue", "console", "ptmx", "tty", "fd", "null", "zero", "full", "random", "urandom", "init")


def all_of_them(root: Path = Path("/dev")) -> tuple[dict[str, Any], ...]:
    """Every device node below `root` in the words of an OCI bundle."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not (folder == str(root) and name in OWN)]
        for name in names:
            if folder == str(root) and name in OWN:
                continue
            path = Path(folder, name)
            at = path.lstat()
            kind = "b" if stat.S_ISBLK(at.st_mode) else "c" if stat.S_ISCHR(at.st_mode) else ""
            if kind:
                found.append(_device(path, kind, at))
    return tuple(found)


def _device(path: Path, kind: str, at: os.stat_result) -> dict[str, Any]:
    return {
        "path": str(path),
        "type": kind,
        "major": os.major(at.st_rdev),
        "minor": os.minor(at.st_rdev),
        "fileMode": stat.S_IMODE(at.st_mode),
        "uid": at.st_uid,
        "gid": at.st_gid,
    }
