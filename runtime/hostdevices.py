"""The devices of this host, as containers get them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.model import Device

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
            path = str(Path(folder, name))
            at = os.lstat(path)
            if _kind(at):
                found.append(_device(path, at))
    return tuple(found)


def these(devices: Sequence[Device]) -> tuple[dict[str, Any], ...]:
    """The nodes of these, each under the name that it has in the container. Raises OSError."""
    return tuple(_device(device.inside, Path(device.path).stat()) for device in devices)


def rules(devices: Sequence[Device]) -> list[dict[str, Any]]:
    """What the control group of devices lets through for these. Raises OSError."""
    return [_rule(device.access, Path(device.path).stat()) for device in devices]


def is_one(path: str) -> bool:
    """Whether a device is there."""
    try:
        return bool(_kind(Path(path).stat()))
    except OSError:
        return False


def _kind(at: os.stat_result) -> str:
    """ "b" for blocks, "c" for characters, "" for what is no device."""
    return "b" if stat.S_ISBLK(at.st_mode) else "c" if stat.S_ISCHR(at.st_mode) else ""


def _rule(access: str, at: os.stat_result) -> dict[str, Any]:
    number = {"major": os.major(at.st_rdev), "minor": os.minor(at.st_rdev)}
    return {"allow": True, "type": _kind(at), **number, "access": access}


def _device(path: str, at: os.stat_result) -> dict[str, Any]:
    return {
        "path": path,
        "type": _kind(at),
        "major": os.major(at.st_rdev),
        "minor": os.minor(at.st_rdev),
        "fileMode": stat.S_IMODE(at.st_mode),
        "uid": at.st_uid,
        "gid": at.st_gid,
    }
