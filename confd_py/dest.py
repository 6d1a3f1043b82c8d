"""Files that change in one step: staged beside their place, flushed, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from confd_py.errors import WriteFailed

ENCODING, ERRORS = "utf-8", "surrogateescape"


@dataclass(frozen=True)
class Ownership:
    """What the file shall have; None and -1 keep what the old one has (new files: 0644, ours)."""

    mode: int | None = None
    uid: int = -1
    gid: int = -1


def read(dest: Path) -> str | None:
    """What is in `dest` now, or None."""
    try:
        return dest.read_text(ENCODING, ERRORS)
    except FileNotFoundError:
        return None


def fits(dest: Path, text: str, owner: Ownership) -> bool:
    """Whether `dest` already has this content, mode and owner."""
    try:
        stat = dest.stat()
    except FileNotFoundError:
        return False
    same_mode = owner.mode is None or stat.st_mode & 0o7777 == owner.mode
    return same_mode and owner.uid in (-1, stat.st_uid) and owner.gid in (-1, stat.st_gid) and read(dest) == text


def stage(dest: Path, text: str, owner: Ownership) -> Path:
    """A finished copy beside `dest`, named `.<name><random>`. Raises WriteFailed, leaving nothing behind."""
    place = Path(os.path.realpath(dest))  # a symlink stays one; what it points to is replaced
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{place.name}", dir=place.parent)
    except OSError as err:
        raise _failed(dest, err) from err
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding=ENCODING, errors=ERRORS) as file:
            _own(descriptor, place, owner)
            file.write(text)
    except OSError as err:
        staged.unlink(missing_ok=True)
        raise _failed(dest, err) from err
    return staged


def swap(staged: Path, dest: Path, *, durable: bool = True) -> None:
    """Put the staged file in the place of `dest`; with `durable` it survives a power cut. Raises WriteFailed."""
    place = Path(os.path.realpath(dest))
    try:
        if durable:
            _flush(staged)
        try:
            staged.rename(place)
        except OSError as err:
            if err.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            place.write_bytes(staged.read_bytes())  # a bind-mounted file cannot be renamed over
            staged.unlink()
        if durable:
            _flush(place.parent)
    except OSError as err:
        staged.unlink(missing_ok=True)
        raise _failed(dest, err) from err


def replace_text(dest: Path, text: str, owner: Ownership | None = None, *, durable: bool = True) -> None:
    """Stage and swap in one. Raises WriteFailed."""
    swap(stage(dest, text, owner or Ownership()), dest, durable=durable)


def _own(descriptor: int, place: Path, owner: Ownership) -> None:
    mode, uid, gid = owner.mode, owner.uid, owner.gid
    with contextlib.suppress(FileNotFoundError):
        old = place.stat()
        mode = old.st_mode & 0o7777 if mode is None else mode
        uid, gid = (old.st_uid if uid == -1 else uid), (old.st_gid if gid == -1 else gid)
    if (uid, gid) != (-1, -1):
        os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, 0o644 if mode is None else mode)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(dest: Path, err: OSError) -> WriteFailed:
    hint = "Free some space; it is tried again." if err.errno == errno.ENOSPC else "The old file is still in place."
    return WriteFailed(f"{dest} could not be written: {err.strerror}", hint=hint)
