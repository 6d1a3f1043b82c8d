"""Files into containers and out of them. One process packs a tar and one unpacks it, and each has as its own root the
one that it works in: no link leads out of a container, whatever moves in there meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runtime.errors import NotCopied

CLONE_NEWUSER = 0x10000000

Stream = IO[bytes] | int | None
KERNELS = ("/proc", "/sys", "/dev")  # only what is named below them is copied


@dataclass(frozen=True)
class Root:
    """A directory that is "/" for who copies there; owners are as the user namespace has them, None: as the host."""

    path: Path
    userns: Path | None = None


HERE = Root(Path("/"))


def copy(source_root: Root, source: str, target_root: Root, target: str, *, keep: bool = False) -> None:
    """Copy a file, link or directory with all below it, as cp(1) does: into `target` if that is a directory, else under
    its name; of `source/.` what is in it. Devices, pipes and sockets are left out.

    `keep` keeps owners, by number, and setuid; else all is root's. Raises NotCopied.
    """
    packer = packing(source_root, source, subprocess.PIPE)
    assert packer.stdout is not None
    unpacker = unpacking(target_root, target, packer.stdout, keep=keep)
    packer.stdout.close()  # it is the other one's: a packer whose reader is gone ends
    packer.stdout = None
    ended(unpacker, packer)


def packing(root: Root, path: str, out: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """A process that writes `path`, as `root` has it, to `out` as a tar."""
    return _process(["pack", *_words(root), path], None, out)


def unpacking(root: Root, path: str, source: IO[bytes] | int, *, keep: bool = False) -> subprocess.Popen[bytes]:
    """A process that puts the tar that `source` gives at `path`, as `root` has it."""
    return _process(["unpack", *_words(root), path, *(["keep"] if keep else [])], source, None)


def _words(root: Root) -> tuple[str, str]:
    return str(root.path), str(root.userns or "")


def ended(*processes: subprocess.Popen[bytes]) -> None:
    """Wait for their ends. Raises NotCopied in the words of the last that has some: who reads fails with who writes."""
    words = [process.communicate()[1].decode(errors="replace").strip() for process in processes]
    if any(process.returncode for process in processes):
        raise NotCopied(next(filter(None, reversed(words)), "it was broken off"))


def _process(words: list[str], stdin: Stream, stdout: Stream) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-P", "-m", "runtime.copying", *words]
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)


def pack(path: str, out: IO[bytes]) -> None:
    """Write `path` and all below it. The first name in the tar is that of `path`, or `.` for what is in it."""
    name = os.path.basename(path.rstrip("/"))  # noqa: PTH119 a link stays one
    top = "." if name in ("", ".", "..") else name
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for place, name in _below(path, top):
            info = tar.gettarinfo(place, name)
            tar.inodes.clear()  # type: ignore[attr-defined] # each file for itself: a link's other end may be left out
            if info is None or not (info.isreg() or info.isdir() or info.issym()):
                continue
            if info.isreg():
                with open(place, "rb") as file:  # noqa: PTH123
                    tar.addfile(info, file)
            else:
                tar.addfile(info)


def _below(path: str, name: str) -> Iterator[tuple[str, str]]:
    yield path, name
    if stat.S_ISDIR(os.lstat(path).st_mode):
        with os.scandir(path) as entries:
            inside = sorted(entry.path for entry in entries)
        for place in inside:
            if place not in KERNELS:
                yield from _below(place, f"{name}/{os.path.basename(place)}")  # noqa: PTH119


def unpack(path: str, source: IO[bytes], *, keep: bool) -> None:
    """Put what the tar has at `path`: below it where that is a directory, else in its place."""
    with tarfile.open(fileobj=source, mode="r|") as tar:
        first = tar.next()
        if first is None:
            return
        top, renamed = _place(path, first)
        try:
            member: tarfile.TarInfo | None = first
            while member is not None:
                _, _, rest = member.name.partition("/")
                name = "/".join(filter(None, (renamed, rest))) if renamed is not None else member.name
                _put(top, [part for part in name.split("/") if part not in ("", ".")], member, tar, keep=keep)
                member = tar.next()
        finally:
            os.close(top)


def _place(path: str, first: tarfile.TarInfo) -> tuple[int, str | None]:
    """The directory that all goes into, opened, and the name there of what is copied, None for its own."""
    if os.path.isdir(path):  # noqa: PTH112 that of the directory a link leads to
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY), None
    if path.endswith("/") and not first.isdir():
        raise NotADirectoryError(20, "there is no such directory", path)
    if os.path.exists(path) and first.isdir():  # noqa: PTH110
        raise NotADirectoryError(20, "it is a file, and a directory is to be copied", path)
    parent, name = os.path.split(path.rstrip("/"))
    return os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY), name


def _put(top: int, parts: list[str], member: tarfile.TarInfo, tar: tarfile.TarFile, *, keep: bool) -> None:
    if ".." in parts:
        raise PermissionError(1, "its name leads out of where it is put", member.name)
    if not parts:
        return  # what is copied into a directory that is there: that stays as it is
    directory = os.dup(top)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        _make(directory, parts[-1], member, tar, keep=keep)
    finally:
        os.close(directory)


def _make(directory: int, name: str, member: tarfile.TarInfo, tar: tarfile.TarFile, *, keep: bool) -> None:
    if member.isdir():
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            return  # that stays as it is
    elif member.issym() or member.isreg():
        _away(name, directory)
    if member.issym():
        os.symlink(member.linkname, name, dir_fd=directory)
    elif member.isreg():
        _write(directory, name, member, tar)
    elif not member.isdir():
        return
    if keep:
        os.chown(name, member.uid, member.gid, dir_fd=directory, follow_symlinks=False)
    if not member.issym():
        # Whoever made a file in a container must not make it one that gives power outside.
        os.chmod(name, member.mode & (0o7777 if keep else 0o777), dir_fd=directory)
    if not member.isdir():
        os.utime(name, (member.mtime, member.mtime), dir_fd=directory, follow_symlinks=False)


def _away(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        raise IsADirectoryError(21, "a directory is where a file is to be put", name) from None


def _write(directory: int, name: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    content = tar.extractfile(member)
    assert content is not None
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=directory), "wb") as file:
        while block := content.read(1 << 20):
            file.write(block)


def _is_ours(userns: str) -> bool:
    return Path(userns).stat().st_ino == Path("/proc/self/ns/user").stat().st_ino


def _become_root_of(userns: int) -> None:
    """The host's root is nobody to files whose owners are remapped."""
    if ctypes.CDLL(None, use_errno=True).setns(userns, CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "the user namespace")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def main() -> None:
    """`pack ROOT USERNS PATH` to stdout, or `unpack ROOT USERNS PATH [keep]` from stdin; USERNS may be ""."""
    what, root, userns, path, *more = sys.argv[1:]
    try:
        import encodings.idna  # noqa: F401 what else is imported late would be looked for inside

        inside = os.open(userns, os.O_RDONLY) if userns and not _is_ours(userns) else None
        os.chroot(root)
        os.chdir("/")
        if inside is not None:
            _become_root_of(inside)
        if what == "pack":
            pack(path, sys.stdout.buffer)
        else:
            unpack(path, sys.stdin.buffer, keep="keep" in more)
    except BrokenPipeError:
        os._exit(1)  # whoever unpacks has said why
    except (OSError, tarfile.TarError) as err:
        where = getattr(err, "filename", None) or path
        sys.exit(f"{where}: {getattr(err, 'strerror', None) or err}")


if __name__ == "__main__":
    main()
