"""Files that change in one step: staged beside their place, flushed, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from confd_py.errors import WriteFailed

ENCODING, ERRORS = "utf-8", "surrogateescape"
_HINTS = {
    errno.ENOSPC: "Free some space; it is tried again.",
    errno.ELOOP: "Its symbolic links lead round in a circle: take one away.",
}
_SELINUX = "security.selinux"


@dataclass(frozen=True)
class Ownership:
    """What the file shall have; None and -1 keep what the old one has (new files: 0644, ours)."""

    mode: int | None = None
    uid: int = -1
    gid: int = -1


def read(dest: Path) -> str | None:
    """What is in `dest` now, or None. Raises WriteFailed."""
    try:
        _refuse_irregular(dest)
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


def stage(dest: Path, text: str, owner: Ownership) -> Path:
    """A finished copy beside `dest`, named `.<name><random>`. Raises WriteFailed, leaving nothing behind."""
    place = _place(dest)
    try:
        with contextlib.suppress(FileNotFoundError):
            _refuse_irregular(dest)
        descriptor, staged = _create(place)
    except OSError as err:
        raise _failed(dest, err) from err
    try:
        with os.fdopen(descriptor, "wb") as file:
            _own(descriptor, place, owner)
            file.write(text.encode(ENCODING, ERRORS))
    except OSError as err:
        staged.unlink(missing_ok=True)
        raise _failed(dest, err) from err
    return staged


def swap(staged: Path, dest: Path, *, durable: bool = True) -> None:
    """Put the staged file in the place of `dest`; with `durable` it survives a power cut. Raises WriteFailed."""
    place = _place(dest)
    try:
        if durable:
            _flush(staged)
        try:
            staged.rename(place)
        except OSError as err:
            if err.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            _write_over(place, staged)  # a bind-mounted file cannot be renamed over
        if durable:
            _flush(place.parent)
    except OSError as err:
        staged.unlink(missing_ok=True)
        raise _failed(dest, err) from err


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
    """Stage and swap in one. Raises WriteFailed."""
    swap(stage(dest, text, owner or Ownership()), dest, durable=durable)


def _refuse_irregular(dest: Path) -> None:
    """A pipe would be waited for, and renaming over a device takes it away. Raises WriteFailed, OSError."""
    if not (stat.S_ISREG(mode := dest.stat().st_mode) or stat.S_ISDIR(mode)):
        raise WriteFailed(f"{dest} is no regular file", hint="Name a file as dest: pipes and devices are not written.")


def _place(dest: Path) -> Path:
    """Where the file itself is: a symlink stays one, and what it points to is replaced."""
    return Path(os.path.realpath(dest)) if dest.is_symlink() else dest


def _create(place: Path) -> tuple[int, Path]:
    """A new file beside `place` with digits behind its name, as confd's are: `check_cmd` may look for them."""
    for _ in range(100):
        staged = place.parent / f".{place.name}{random.randrange(10**9, 10**10)}"  # noqa: S311 no secret
        with contextlib.suppress(FileExistsError):
            return os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), staged
    raise FileExistsError(errno.EEXIST, "no name is free beside it")


def _own(descriptor: int, place: Path, owner: Ownership) -> None:
    """Mode, owner and label; only what differs is set, as whoever watches the directory hears of each."""
    mode, uid, gid = owner.mode, owner.uid, owner.gid
    with contextlib.suppress(FileNotFoundError):
        old = place.stat()
        mode = old.st_mode & 0o7777 if mode is None else mode
        uid, gid = (old.st_uid if uid == -1 else uid), (old.st_gid if gid == -1 else gid)
    have = os.fstat(descriptor)
    if uid not in (-1, have.st_uid) or gid not in (-1, have.st_gid):
        os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, 0o644 if mode is None else mode)
    _label(descriptor, place)


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
