"""The program that unpacks one layer, confined: python -I -S unpack.py DIRECTORY DIFF_ID COMPRESSION BYTES < blob

BYTES is how large it may be, unpacked.

It runs in a process of its own, with DIRECTORY as its root, so that no name, link or ".." of a hostile layer leads
anywhere else; without a network, and with the few capabilities that owners, modes and whiteouts need.
Exit code 0, or 1 with one line of explanation on stderr. Imports nothing of this project: it starts in 20 ms.
"""

# These are names below another root, and the program shall start fast: no pathlib.
# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH118, PTH120
from __future__ import annotations

import ctypes
import gzip
import hashlib
import os
import resource
import shutil
import stat
import subprocess
import sys
import tarfile
from typing import BinaryIO, cast

KEPT_XATTRS = ("security.capability", "user.")
STEERING = "user.overlay."  # as trusted.*, it steers overlayfs itself: never from a layer
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETPCAP, SYS_ADMIN (trusted.overlay.opaque), MKNOD, SETFCAP
KEPT_CAPABILITIES = {0, 1, 3, 4, 8, 21, 27, 31}
CLONE_NEWNET = 0x40000000
LARGEST_MEMORY_BYTES = 1 << 30  # a header of a tar may claim to be of any size, and is read as a whole
MOST_MEMBERS = 2_000_000
# null, zero, full, random, urandom; tty, console, ptmx: every container has them anyway
HARMLESS_DEVICES = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}


class Hashed:
    """A stream that knows the digest of what was read from it, and ends in an error beyond `largest_bytes`."""

    def __init__(self, raw: BinaryIO, largest_bytes: int) -> None:
        self._raw = raw
        self._largest = self._left = largest_bytes
        self._hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        self._hasher.update(data)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"unpacked it is larger than {self._largest >> 20} MiB (largest_layer_mib)")
        return data

    def rest(self) -> str:
        """Read to the end; the digest of everything."""
        while self.read(1 << 20):
            pass
        return f"sha256:{self._hasher.hexdigest()}"


def main(directory: str, diff_id: str, compression: str, largest_bytes: str) -> None:
    stream = Hashed(opened(compression), int(largest_bytes))
    rootless = in_user_namespace()
    confine(directory)
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as tar:
        for number, member in enumerate(tar):
            if number == MOST_MEMBERS:
                raise ValueError(f"it has more than {MOST_MEMBERS} files")
            put(tar, member, rootless=rootless)
            tar.members.clear()  # type: ignore[attr-defined] # else they all stay in memory
    found = stream.rest()
    if found != diff_id:
        raise ValueError(f"its content has digest {found}, not {diff_id}")


def opened(compression: str) -> BinaryIO:
    if compression == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=sys.stdin.buffer))
    if compression == "zstd":
        child = subprocess.Popen(["/usr/bin/zstd", "-dc"], stdin=sys.stdin.buffer, stdout=subprocess.PIPE)
        return cast("BinaryIO", child.stdout)
    return sys.stdin.buffer


def confine(directory: str) -> None:
    """Give up everything that unpacking does not need. What is needed of the library has been imported by now."""
    "warm".encode("idna")
    libc = ctypes.CDLL(None, use_errno=True)
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY_BYTES, LARGEST_MEMORY_BYTES))
    libc.unshare(CLONE_NEWNET)
    os.chroot(directory)
    os.chdir("/")
    os.umask(0)
    for capability in set(range(41)) - KEPT_CAPABILITIES:
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    low = sum(1 << c for c in KEPT_CAPABILITIES)
    data = (ctypes.c_uint32 * 6)(low, low, 0, 0, 0, 0)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "cannot drop capabilities")


def in_user_namespace() -> bool:
    """Whether this process may neither make devices nor write trusted.*, as its root is not the machine's."""
    with open("/proc/self/uid_map") as file:  # noqa: PTH123
        return file.read().split() != ["0", "0", str((1 << 32) - 1)]


def put(tar: tarfile.TarFile, member: tarfile.TarInfo, *, rootless: bool) -> None:
    path = os.path.normpath("/" + member.name)
    parent, name = os.path.split(path)
    if path == "/":
        os.chmod("/", stat.S_IMODE(member.mode))
        os.chown("/", member.uid, member.gid)
        return
    make_parent(parent)
    if name == ".wh..wh..opq":
        os.setxattr(parent, f"{'user' if rootless else 'trusted'}.overlay.opaque", b"y")
    elif name.startswith(".wh.") and not name.startswith(".wh..wh."):
        hide(os.path.join(parent, name.removeprefix(".wh.")))
    elif not name.startswith(".wh.") and wanted(path, member, rootless=rootless):
        clear(path, member)
        member.name = path.lstrip("/")
        tar.extract(member, "/", numeric_owner=True, filter="fully_trusted")
        keep_xattrs(path, member)


def wanted(path: str, member: tarfile.TarInfo, *, rootless: bool) -> bool:
    """Whether it may be there. A container's /dev is its own, so that devices there need not be; elsewhere they would
    be a door to the host's disks and memory for whoever is allowed to use devices. Who is `rootless` makes none."""
    if not (member.ischr() or member.isblk()):
        return True
    if path.startswith("/dev/") or rootless:
        return False
    if member.ischr() and (member.devmajor, member.devminor) in HARMLESS_DEVICES:
        return True
    raise ValueError(f"{path} is a device node ({member.devmajor}:{member.devminor}), which no layer may bring")


def make_parent(parent: str) -> None:
    """A layer may leave out the directories above a file; a file in their place gives way."""
    if os.path.isdir(parent):
        return
    make_parent(os.path.dirname(parent))
    if os.path.lexists(parent):
        os.unlink(parent)
    os.mkdir(parent, 0o755)


def hide(path: str) -> None:
    """A whiteout hides what lies below this layer, never what the layer itself brings."""
    if not os.path.lexists(path):
        os.mknod(path, stat.S_IFCHR, 0)


def clear(path: str, member: tarfile.TarInfo) -> None:
    """What stood there before makes room, unless both are directories."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(there.st_mode):
        os.unlink(path)
    elif not member.isdir():
        shutil.rmtree(path)


def keep_xattrs(path: str, member: tarfile.TarInfo) -> None:
    for key, value in member.pax_headers.items():
        name = key.removeprefix("SCHILY.xattr.")
        if name != key and name.startswith(KEPT_XATTRS) and not name.startswith(STEERING):
            os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, EOFError, MemoryError, tarfile.TarError, gzip.zlib.error) as err:  # type: ignore[attr-defined]
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        sys.exit(1)
