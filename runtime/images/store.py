"""The images of this host: a name points to a manifest, which is there only once everything it needs is."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from runtime.errors import ImageInUse, ImageNotFound, InvalidImage
from runtime.images import manifest
from runtime.images.blobs import Blobs
from runtime.images.layers import Layers, directory_name
from runtime.images.reference import Reference
from runtime.linux import sync_filesystem
from runtime.model import Image, ImageDetails, Swept
from runtime.state import held, write_whole


class ImageStore:
    """`root/blobs`, `root/complete/<hex>` (empty files) and `root/refs/<name>` (each holds a digest)."""

    def __init__(self, root: Path, layers: Layers, locks: Path) -> None:
        self.blobs = Blobs(root)
        self._root = root
        self._layers = layers
        self._locks = locks
        self._complete = root / "complete"
        self._refs = root / "refs"
        for directory in (self._complete, self._refs):
            directory.mkdir(exist_ok=True)

    def using(self) -> AbstractContextManager[None]:
        """While this is held, nothing is collected."""
        return held(self._locks / "images", shared=True)

    def find(self, ref: Reference) -> Image | None:
        """The image of this name or digest, if it is complete."""
        digest = ref.digest or self._pointed(ref)
        if digest is None or not self._mark(digest).exists():
            return None
        try:
            return self.image(digest, str(ref))
        except InvalidImage:  # a blob is damaged: the image has to be brought again
            self._mark(digest).unlink(missing_ok=True)
            return None

    def image(self, digest: str, ref: str = "") -> Image:
        """The image with this manifest. Raises InvalidImage."""
        _, config = self._read(digest)
        return Image(ref or self._named(digest), digest, manifest.image_config(config))

    def keep(self, digest: str, ref: Reference | None) -> Image:
        """Complete the image whose blobs are here, and let `ref` point to it. Raises InvalidImage."""
        read, config = self._read(digest)
        for layer in manifest.layers(read, config, digest):
            self._layers.unpack(self.blobs, layer)
        sync_filesystem(self._root)
        self._mark(digest).touch()
        if ref is not None and not ref.bare and not ref.digest:
            write_whole(self._refs / _file_name(ref), digest.encode())
        return self.image(digest, str(ref) if ref else "")

    def layer_names(self, digest: str) -> tuple[str, ...]:
        """The layers' directories, the topmost first. Raises ImageNotFound, InvalidImage."""
        if not self._mark(digest).exists():
            raise ImageNotFound(digest)
        read, config = self._read(digest)
        names = [directory_name(layer.diff_id) for layer in manifest.layers(read, config, digest)]
        return tuple(dict.fromkeys(reversed(names)))  # overlayfs refuses one directory twice; the topmost counts

    def images(self) -> list[Image]:
        """Every image, once for each of its names."""
        pointed = self._pointers()
        named = [self.image(digest, ref) for ref, digest in sorted(pointed.items()) if self._mark(digest).exists()]
        return named + [self.image(d, d) for d in self._digests() if d not in pointed.values()]

    def details(self, digest: str) -> ImageDetails:
        """Everything but who uses it. Raises InvalidImage."""
        read, config = self._read(digest)
        found = manifest.layers(read, config, digest)
        return ImageDetails(
            digest,
            tuple(sorted(ref for ref, pointed in self._pointers().items() if pointed == digest)),
            manifest.image_config(config),
            f"{config.get('os')}/{config.get('architecture')}",
            str(config.get("created") or ""),
            tuple(layer.digest for layer in found),
            tuple(layer.diff_id for layer in found),
            sum(self.blobs.path(layer.digest).stat().st_size for layer in set(found)),
            self._mark(digest).stat().st_mtime,
        )

    def used(self, digest: str) -> None:
        """Note that it is in use now; fine if it is not here."""
        with suppress(FileNotFoundError):
            os.utime(self._mark(digest))

    def remove(self, ref: Reference, users: Callable[[str], tuple[str, ...]]) -> bool:
        """Take a name away, by a digest all names; True if the image has none left and may go.

        Raises ImageNotFound, and ImageInUse where containers would be left with an image that has no name.
        """
        with held(self._locks / "images"):
            found = self.find(ref)
            if found is None:
                raise ImageNotFound(str(ref))
            names = {name for name, digest in self._pointers().items() if digest == found.digest}
            gone = names if ref.digest else {str(ref)}
            if gone >= names and (containers := users(found.digest)):
                raise ImageInUse(str(ref), containers)
            for name in gone:
                (self._refs / quote(name, safe="")).unlink()
            return gone >= names

    def untag(self, ref: Reference) -> bool:
        """Take a name away; False if it was not there."""
        path = self._refs / _file_name(ref)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed

    def collect(
        self, needed: Callable[[], tuple[set[str], set[str]]], *, unused: bool, used_before: float = math.inf
    ) -> Swept:
        """Delete images that nothing names (`unused`: also named ones), not used since `used_before` (Unix time), and
        what only they needed.

        `needed` gives digests and layers to keep. It is asked while nobody can begin to use another image.
        """
        with held(self._locks / "images"):
            for draft in (*self._root.glob(".pull-*"), *self._root.glob(".build-*")):
                shutil.rmtree(draft)  # of a pull or a build that was killed
            for secret in self._root.glob(".auth-*"):
                secret.unlink()
            digests, layers = needed()
            if used_before < math.inf:
                digests |= {d for d in self._digests() if self._mark(d).stat().st_mtime >= used_before}
            return self._collect(digests, layers, unused)

    def _collect(self, keep: set[str], needed_layers: set[str], unused: bool) -> Swept:
        pointed = self._pointers()
        if not unused:
            keep |= set(pointed.values())
        doomed = [digest for digest in self._digests() if digest not in keep]
        for digest in doomed:
            self._mark(digest).unlink()
        for ref, digest in pointed.items():
            if not self._mark(digest).exists():
                (self._refs / quote(ref, safe="")).unlink()
        blobs, layers = self._needed()
        return self._sweep(tuple(doomed), blobs, layers | needed_layers)

    def _sweep(self, doomed: tuple[str, ...], blobs: set[str], layers: set[str]) -> Swept:
        self.blobs.sweep()
        self._layers.sweep()
        dead_blobs = [digest for digest in self.blobs.all() if digest not in blobs]
        dead_layers = [name for name in self._layers.all() if name not in layers]
        freed = sum(self.blobs.drop(digest) for digest in dead_blobs)
        for name in dead_layers:
            self._layers.drop(name)
        return Swept(doomed, len(dead_layers), len(dead_blobs), freed)

    def _needed(self) -> tuple[set[str], set[str]]:
        """Blobs and layers of all complete images."""
        blobs: set[str] = set()
        layers: set[str] = set()
        for digest in self._digests():
            read, config = self._read(digest)
            found = manifest.layers(read, config, digest)
            blobs |= {
                digest,
                manifest.descriptor_digest(read.get("config"), digest),
                *(layer.digest for layer in found),
            }
            layers |= {directory_name(layer.diff_id) for layer in found}
        return blobs, layers

    def _digests(self) -> list[str]:
        return sorted(f"sha256:{e.name}" for e in os.scandir(self._complete))

    def _mark(self, digest: str) -> Path:
        return self._complete / digest.removeprefix("sha256:")

    def _pointed(self, ref: Reference) -> str | None:
        try:
            return (self._refs / _file_name(ref)).read_text()
        except FileNotFoundError:
            return None

    def _named(self, digest: str) -> str:
        return next((ref for ref, pointed in self._pointers().items() if pointed == digest), digest)

    def _pointers(self) -> dict[str, str]:
        """Digests by name."""
        paths = [path for path in self._refs.iterdir() if not path.name.startswith(".")]
        return {unquote(path.name): path.read_text() for path in paths}

    def _read(self, digest: str) -> tuple[dict[str, object], dict[str, object]]:
        """The manifest and the configuration."""
        read = manifest.parse(self.blobs.read(digest), f"manifest {digest}")
        configured = manifest.descriptor_digest(read.get("config"), f"manifest {digest}")
        return read, manifest.parse(self.blobs.read(configured), f"configuration {configured}")


def _file_name(ref: Reference) -> str:
    return quote(str(ref), safe="")
