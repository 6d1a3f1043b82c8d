"""Layers on disk: each is unpacked once, into a directory of its own, and shared by all images that have it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from runtime.errors import InvalidImage, MissingProgram
from runtime.images.blobs import Blobs
from runtime.images.manifest import Layer
from runtime.images.settings import LARGEST_LAYER_BYTES
from runtime.linux import in_user_namespace, sync_filesystem
from runtime.state import held

UNPACK = Path(__file__).with_name("unpack.py")
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
# What a container's own mounts cover, as a layer to lie below all others: a file system without them would have to be
# given them, seven files of its own for each container, to be made and deleted.
MOUNTPOINTS = "mountpoints"
_DIRECTORIES, _FILES = ("dev", "etc", "proc", "sys"), ("etc/hostname", "etc/hosts", "etc/resolv.conf")
NAME_LENGTH = 24  # of 32 base characters: 120 bits, and 125 layers fit into the 4096 bytes of mount options


class Layers:
    """`root/<name of layer>/`: directories to stack with overlayfs. Whiteouts are in overlayfs' own form."""

    def __init__(self, root: Path, locks: Path, largest_bytes: Callable[[], int] = lambda: LARGEST_LAYER_BYTES) -> None:
        self._root = root
        self._locks = locks
        self._largest_bytes = largest_bytes  # asked anew for each layer, as the settings may be edited

    def unpack(self, blobs: Blobs, layer: Layer) -> str:
        """Make sure that the layer is there; the name of its directory. Raises InvalidImage."""
        name = directory_name(layer.diff_id)
        final = self._root / name
        if final.is_dir():
            return name
        with held(self._locks / f"layer-{name}"):
            if not final.is_dir():
                try:
                    self._unpack(blobs.path(layer.digest), layer, final)
                except InvalidImage:
                    blobs.path(layer.digest).unlink(missing_ok=True)  # so that the next pull fetches it anew
                    raise
        return name

    def ensure_mountpoints(self) -> None:
        """Have the layer MOUNTPOINTS."""
        layer = self._root / MOUNTPOINTS
        for path in (layer, *(layer / name for name in _DIRECTORIES)):
            if not path.exists():
                path.mkdir(exist_ok=True)
                path.chmod(0o755)  # whatever the umask
        for path in (layer / name for name in _FILES):
            if not path.exists():
                path.touch()
                path.chmod(0o644)

    def all(self) -> list[str]:
        """The layers of images."""
        return [e.name for e in os.scandir(self._root) if not e.name.startswith(".") and e.name != MOUNTPOINTS]

    def drop(self, name: str) -> None:
        """Delete a layer, whole or not at all as others see it."""
        doomed = self._root / f".{os.urandom(8).hex()}"
        (self._root / name).rename(doomed)
        shutil.rmtree(doomed)

    def sweep(self) -> None:
        """Delete what a crash left half unpacked. Only while nobody unpacks."""
        for entry in self._root.glob(".*"):
            shutil.rmtree(entry)

    def _unpack(self, blob: Path, layer: Layer, final: Path) -> None:
        draft = self._root / f".{os.urandom(8).hex()}"
        draft.mkdir(mode=0o755)
        try:
            _run_unpack(blob, layer, draft, self._largest_bytes())
            sync_filesystem(draft)  # a layer is kept for good: it must be whole after a power cut too
            draft.rename(final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def directory_name(diff_id: str) -> str:
    """The name of a layer's directory: short, because mount(2) takes 4096 bytes of options in all."""
    number = int(diff_id.removeprefix("sha256:"), 16) >> (256 - 5 * NAME_LENGTH)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(alphabet[(number >> (5 * i)) & 31] for i in reversed(range(NAME_LENGTH)))


def _run_unpack(blob: Path, layer: Layer, draft: Path, largest_bytes: int) -> None:
    try:
        source = blob.open("rb", buffering=0)  # the child reads from where the descriptor stands
    except FileNotFoundError:
        raise InvalidImage(f"layer {layer.digest} is missing", hint="Pull or load the image again.") from None
    with source:
        compression = _compression(source.read(2))
        source.seek(0)
        argv = [sys.executable, "-I", "-S", str(UNPACK), str(draft), layer.diff_id, compression, str(largest_bytes)]
        done = subprocess.run(
            argv, check=False, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    if done.returncode:
        words = tuple(done.stderr.strip().splitlines()[-3:])
        raise InvalidImage(f"layer {layer.digest} cannot be unpacked", details=words, hint=_hint(done.stderr))


def _compression(magic: bytes) -> str:
    compression = _MAGIC.get(magic, "none")
    if compression == "zstd" and not shutil.which("zstd", path="/usr/bin"):
        raise MissingProgram("zstd", "zstd")
    return compression


def _hint(words: str) -> str:
    if "No space left" in words:
        return "The disk is full: `hecd-runtime gc --all` frees unused images."
    if "largest_layer_mib" in words:
        return "If you trust the image, allow larger layers in /etc/hecd/images.toml: largest_layer_mib"
    if "Errno 22" in words and in_user_namespace():
        return "Its files may have owners that this user has no ids for: /etc/subuid and /etc/subgid give more."
    return "Pull or load the image again; if that does not help, the image itself is wrong."
