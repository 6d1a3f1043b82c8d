"""The images of one host root, by the names that people give them."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from runtime.errors import ImageNotFound, InvalidImage, mapped
from runtime.images import archive, buildah, imported, reference, save, settings
from runtime.images.registry import Progress, Registry
from runtime.images.store import ImageStore
from runtime.model import Image, ImageConfig, ImageDetails, Swept
from runtime.paths import HostPaths
from runtime.state import Records


class Catalog:
    """Images from registries, archives and builds. `sweep` takes away what crashes left of containers."""

    def __init__(
        self, paths: HostPaths, store: ImageStore, records: Records, sweep: Callable[[], object], settings_file: Path
    ) -> None:
        self._paths = paths
        self._store = store
        self._records = records
        self._sweep = sweep
        self._settings_file = settings_file
        self._registry = Registry(store, paths.images, paths.locks, settings_file)

    @mapped()
    def resolve(self, ref: str) -> Image:
        """What `ref` names: here, else in its registry. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""
        parsed = reference.parse(ref)
        found = self._store.find(parsed)
        if found is not None:
            return found
        if parsed.bare:
            raise ImageNotFound(ref)
        return self._registry.resolve(parsed)

    @mapped()
    def pull(self, ref: str, *, refresh: bool = False, progress: Progress = lambda _: None) -> Image:
        """Make the image present; if it is, nothing happens unless `refresh` asks the registry what a tag names now.
        `progress` is called while bytes arrive. Raises as `resolve`."""
        parsed = reference.parse(ref)
        with self._store.using():
            found = self._store.find(parsed)
            if found is not None and (parsed.digest or not refresh):
                return found
            if parsed.bare:
                raise ImageNotFound(ref)
            return self._registry.pull(parsed, progress)

    @mapped()
    def load(self, path: Path) -> list[Image]:
        """Bring in the images of an OCI layout, an OCI archive or a `docker save` archive. Raises InvalidImage."""
        with self._store.using():
            return archive.load(self._store, path)

    @mapped()
    def list(self) -> list[Image]:
        """Every image of this host, once for each of its names."""
        return self._store.images()

    def here(self, ref: str) -> Image:
        """The image, if it is on this host. Raises ImageNotFound."""
        found = self._store.find(reference.parse(ref))
        if found is None:
            raise ImageNotFound(ref)
        return found

    def used(self, digest: str) -> None:
        """Note that a container uses it now; fine if it is not here."""
        self._store.used(digest)

    @mapped()
    def inspect(self, ref: str) -> ImageDetails:
        """All that is known of an image that is here. Raises ImageNotFound, InvalidImage."""
        digest = self.here(ref).digest
        return replace(self._store.details(digest), containers=self._users(digest))

    @mapped()
    def untag(self, ref: str) -> None:
        """Take a name away; the image goes with the next `gc`. Raises ImageNotFound."""
        if not self._store.untag(reference.parse(ref)):
            raise ImageNotFound(ref)

    @mapped()
    def remove(self, ref: str) -> Swept:
        """Take the name away; with the last one goes the image, and what only it needed.
        Raises ImageNotFound, ImageInUse."""
        parsed = reference.parse(ref)
        found = self._store.find(parsed)
        if not self._store.remove(parsed, self._users) or found is None:
            return Swept()
        others = {image.digest for image in self._store.images()} - {found.digest}
        return self.gc(keep=others)

    @mapped()
    def save(self, refs: Sequence[str], path: Path) -> None:
        """Write images to an archive that `docker load`, podman, skopeo and `load` read. Raises ImageNotFound."""
        with self._store.using():
            save.save(self._store.blobs, [self.here(ref) for ref in refs], path)

    @mapped()
    def import_rootfs(self, path: Path, ref: str, config: ImageConfig) -> Image:
        """Make an image of a tar of a root file system. Raises InvalidImage."""
        largest_bytes = settings.read(self._settings_file).largest_layer_bytes
        with self._store.using():
            return imported.import_rootfs(self._store, path, _named(ref), config, largest_bytes)

    @mapped()
    def build(self, context: Path, ref: str, dockerfile: Path | None = None) -> Image:
        """Build a Dockerfile with buildah. Raises MissingProgram, BuildFailed, InvalidImage."""
        name = str(_named(ref))
        with self._store.using(), tempfile.TemporaryDirectory(prefix=".build-", dir=self._paths.images) as draft:
            target = Path(draft) / "image.tar"
            buildah.build(context, dockerfile, name, self._paths.images, target)
            (built,) = archive.load(self._store, target)
        return built

    @mapped()
    def gc(self, *, keep: Iterable[str] = (), unused: bool = False, older_than_s: float = 0.0) -> Swept:
        """Delete images that have no name, with `unused` also those that no container uses, and what only they needed.

        `keep` are digests to leave in any case; with `older_than_s` also what was brought, or left by its last
        container, more recently. Also sweeps what crashes left.
        """
        self._sweep()
        asked = set(keep)

        def needed() -> tuple[set[str], set[str]]:
            records = self._records.all()
            layers = {layer for record in records for layer in record.layers}
            return asked | {record.image_digest for record in records}, layers

        used_before = time.time() - older_than_s if older_than_s else math.inf
        return self._store.collect(needed, unused=unused, used_before=used_before)

    def _users(self, digest: str) -> tuple[str, ...]:
        return tuple(record.spec.name for record in self._records.all() if record.image_digest == digest)


def _named(ref: str) -> reference.Reference:
    """A name that an image can be given. Raises InvalidImage."""
    parsed = reference.parse(ref)
    if parsed.digest:
        raise InvalidImage(f"{ref!r} is a digest, which cannot be given", hint="Write [HOST[:PORT]/]NAME[:TAG].")
    return parsed
