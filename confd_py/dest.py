"""Files that change in one step: staged beside their place, flushed, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from confd_py.errors import WriteFailed

ENCODING, ERRORS = "utf-8", "surrogateescape"
_HINTS = {
    errno.ENOENT: "Create its directory; it is tried again.",
    errno.EACCES: "Run confd-py as a user who may write there.",
    errno.EISDIR: "Name a file as dest, or take the directory away.",
    errno.EROFS: "Its file system is read-only: name another place as dest, or mount it to be written.",
    errno.ENOSPC: "Free some space; it is tried again.",
    errno.ELOOP: "Its symbolic links lead round in a circle: take one away.",
}
_SELINUX = "security.selinux"
T = TypeVar("T")


@dataclass(frozen=True)
class Ownership:
    """What the file shall have; None and -1 keep what the old one has (new files: 0644, ours)."""

    mode: int | None = None
    uid: int = -1
    gid: int = -1


def read(dest: Path) -> str | None:
    """What is in `dest` now, or None. Raises WriteFailed."""
    try:
        _regular(dest)
        return dest.read_bytes().decode(ENCODING, ERRORS)  # as it is: line ends are part of it
    except FileNotFoundError:
        return None
    except IsADirectoryError as err:
        raise WriteFailed(f"{dest} is a directory", hint="Name a file as dest, or take the directory away.") from err
    except OSError as err:
        raise WriteFailed(f"{dest} cannot be read: {err.strerror}", hint="Run confd-py as a user who may.") from err


def fits(dest: Path, text: str, owner: Ownership) -> bool:
    """Whether `dest` already has this content, mode and owner."""
    try:
        stat = dest.stat()
    except OSError:  # nothing there, or nothing to be reached: writing will tell
        return False
    same_mode = owner.mode is None or stat.st_mode & 0o7777 == owner.mode
    same_length = stat.st_size == len(text.encode(ENCODING, ERRORS))
    return (
        same_length
        and same_mode
        and owner.uid in (-1, stat.st_uid)
        and owner.gid in (-1, stat.st_gid)
        and read(dest) == text
    )


def stage(dest: Path, text: str, owner: Ownership, *, durable: bool = False) -> Path:
    """A finished copy beside `dest`, named `.<name><random>`; with `durable` it is on the disk.

    Raises WriteFailed, leaving nothing behind.
    """
    try:
        place, old = _place(dest), None
        with contextlib.suppress(FileNotFoundError):
            old = _regular(dest)
        owner, content = _kept_from(old, owner), text.encode(ENCODING, ERRORS)
        try:
            return _nameless(place, content, owner, durable=durable)
        except OSError:  # not every file system has files without a name
            return _named(place, content, owner, durable=durable)
    except OSError as err:
        raise _failed(dest, err) from err


def swap(staged: Path, dest: Path) -> None:
    """Put the staged file in the place of `dest`, so that it survives a power cut. Raises WriteFailed."""
    with _taken_away_if_it_fails(staged, dest):
        _flush(staged)
        _put(staged, _place(dest), durable=True)


def sweep(dest: Path, older_than_s: float) -> None:
    """Remove what was staged for `dest` by a process that was killed meanwhile."""
    place = _place(dest)
    staged = re.compile(rf"\.{re.escape(place.name)}[0-9]{{10}}")
    with contextlib.suppress(OSError):
        owners = {os.geteuid(), place.stat().st_uid if place.exists() else -1}
        for path in [path for path in place.parent.iterdir() if staged.fullmatch(path.name)]:
            found = path.lstat()
            ours = stat.S_ISREG(found.st_mode) and found.st_uid in owners
            if ours and time.time() - found.st_mtime > older_than_s:
                path.unlink()


def replace_text(dest: Path, text: str, owner: Ownership | None = None, *, durable: bool = True) -> None:
    """Stage and swap in one; without `durable` a power cut may lose it. Raises WriteFailed."""
    staged = stage(dest, text, owner or Ownership(), durable=durable)
    with _taken_away_if_it_fails(staged, dest):
        _put(staged, _place(dest), durable=durable)


def _put(staged: Path, place: Path, *, durable: bool) -> None:
    try:
        with _kept(place):
            staged.rename(place)
    except OSError as err:
        if err.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        _write_over(place, staged)  # a bind-mounted file cannot be renamed over
    if durable:
        _flush(place.parent)


@contextlib.contextmanager
def _kept(place: Path) -> Iterator[None]:
    """What nobody has open any more is freed, which takes longer than the renaming: it is put off until after it."""
    descriptor = -1
    with contextlib.suppress(OSError):  # nothing there, or nothing that we may read
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def _taken_away_if_it_fails(staged: Path, dest: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        staged.unlink(missing_ok=True)
        raise _failed(dest, err) from err


def _regular(dest: Path) -> os.stat_result:
    """Of a file or directory: a pipe would be waited for, and renaming over a device takes it away.

    Raises WriteFailed, OSError.
    """
    found = dest.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise WriteFailed(f"{dest} is no regular file", hint="Name a file as dest: pipes and devices are not written.")
    return found


def _place(dest: Path) -> Path:
    """Where the file itself is: a symlink stays one, and what it points to is replaced."""
    return Path(os.path.realpath(dest)) if os.path.islink(dest) else dest  # noqa: PTH114 this is on the way of each change


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
    """What the new file shall have, of which the old one tells what `owner` leaves open."""
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


def _write_over(place: Path, staged: Path) -> None:
    """Put the content of `staged` into the file itself; if that fails, what was there is put back."""
    old = place.read_bytes()
    try:
        place.write_bytes(staged.read_bytes())
    except OSError:
        place.write_bytes(old)
        raise
    wanted, have = staged.stat(), place.stat()
    if (wanted.st_uid, wanted.st_gid) != (have.st_uid, have.st_gid):
        os.chown(place, wanted.st_uid, wanted.st_gid)
    place.chmod(wanted.st_mode & 0o7777)
    _flush(place)
    staged.unlink()


def _label(descriptor: int, place: Path) -> None:
    """Keep the SELinux context: a new file would get that of its directory."""
    with contextlib.suppress(OSError):
        label = os.getxattr(place, _SELINUX)
        os.setxattr(descriptor, _SELINUX, label)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(dest: Path, err: OSError) -> WriteFailed:
    hint = _HINTS.get(err.errno or 0, "")
    if not hint and os.path.exists(dest):  # noqa: PTH110 never raises
        hint = "The old file is still in place."
    return WriteFailed(f"{dest} could not be written: {err.strerror}", hint=hint)
