"""Files that change in one step: staged beside their place, flushed, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from confd_py import staging
from confd_py.errors import WriteFailed
from confd_py.staging import Ownership as Ownership

ENCODING, ERRORS = "utf-8", "surrogateescape"
_HINTS = {
    errno.ENOENT: "Create its directory; it is tried again.",
    errno.EACCES: "Run confd-py as a user who may write there.",
    errno.EISDIR: "Name a file as dest, or take the directory away.",
    errno.EROFS: "Its file system is read-only: name another place as dest, or mount it to be written.",
    errno.ENOSPC: "Free some space; it is tried again.",
    errno.ELOOP: "Its symbolic links lead round in a circle: take one away.",
}


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
        return staging.beside(place, text.encode(ENCODING, ERRORS), owner, old, durable=durable)
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
