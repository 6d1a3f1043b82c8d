"""New files beside the place that they are meant for: with content, owner and mode before anybody uses them."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

_SELINUX = "security.selinux"
T = TypeVar("T")


@dataclass(frozen=True)
class Ownership:
    """What the file shall have; None and -1 keep what the old one has (new files: 0644, ours)."""

    mode: int | None = None
    uid: int = -1
    gid: int = -1


def beside(place: Path, content: bytes, owner: Ownership, old: os.stat_result | None, *, durable: bool) -> Path:
    """A finished file beside `place`; `old` tells what `owner` leaves open. With `durable` it is on the disk.

    Raises OSError, leaving nothing behind.
    """
    owner = _kept_from(old, owner)
    try:
        return _nameless(place, content, owner, durable=durable)
    except OSError:  # not every file system has files without a name
        return _named(place, content, owner, durable=durable)


def _nameless(place: Path, content: bytes, owner: Ownership, *, durable: bool) -> Path:
    """A file that gets its name when it is finished: nothing is left of one that is cut short, and it is quicker."""
    flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
    descriptor = os.open(place.parent, flags, owner.mode or 0o600)
    try:
        _fill(descriptor, place, content, owner, durable=durable)
        return _free_name(place, lambda path: _give_name(descriptor, path))[0]
    finally:
        os.close(descriptor)


def _give_name(descriptor: int, path: str) -> None:
    # Without a directory the link in /proc itself would be linked, not what it leads to.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def _named(place: Path, content: bytes, owner: Ownership, *, durable: bool) -> Path:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    staged, descriptor = _free_name(place, lambda path: os.open(path, flags, 0o600))
    try:
        _fill(descriptor, place, content, owner, durable=durable)
    except OSError:
        staged.unlink()
        raise
    finally:
        os.close(descriptor)
    return staged


def _free_name(place: Path, create: Callable[[str], T]) -> tuple[Path, T]:
    """A new file beside `place` with digits behind its name, as confd's are: `check_cmd` may look for them."""
    folder, name = os.path.split(place)
    for _ in range(100):
        staged = os.path.join(folder, f".{name}{random.randrange(10**9, 10**10)}")  # noqa: PTH118, S311 no secret
        with contextlib.suppress(FileExistsError):
            return Path(staged), create(staged)
    raise FileExistsError(errno.EEXIST, "no name is free beside it")


def _fill(descriptor: int, place: Path, content: bytes, owner: Ownership, *, durable: bool) -> None:
    _own(descriptor, owner)
    _label(descriptor, place)
    _write_all(descriptor, content)
    if durable:
        os.fsync(descriptor)


def _kept_from(old: os.stat_result | None, owner: Ownership) -> Ownership:
    if old is None:
        return replace(owner, mode=0o644 if owner.mode is None else owner.mode)
    mode = stat.S_IMODE(old.st_mode) if owner.mode is None else owner.mode
    return Ownership(mode, old.st_uid if owner.uid == -1 else owner.uid, old.st_gid if owner.gid == -1 else owner.gid)


def _own(descriptor: int, owner: Ownership) -> None:
    """Mode and owner; only what differs is set, as whoever watches the directory hears of each."""
    have = os.fstat(descriptor)
    given = owner.uid not in (-1, have.st_uid) or owner.gid not in (-1, have.st_gid)
    if given:
        os.fchown(descriptor, owner.uid, owner.gid)  # takes away set-user-ID
    if owner.mode is not None and (given or owner.mode != stat.S_IMODE(have.st_mode)):
        os.fchmod(descriptor, owner.mode)


def _write_all(descriptor: int, content: bytes) -> None:
    """All of it: one call may write less."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _label(descriptor: int, place: Path) -> None:
    """Keep the SELinux context: a new file would get that of its directory."""
    with contextlib.suppress(OSError):
        label = os.getxattr(place, _SELINUX)
        os.setxattr(descriptor, _SELINUX, label)
