"""Images from registries and their mirrors: each blob is fetched once, however many ask, and no finished one again."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.errors import InvalidImage, RegistryDenied, RegistryUnavailable, RegistryUntrusted, RuntimeFault
from runtime.images import manifest, settings
from runtime.images.blobs import Blobs
from runtime.images.reference import Reference
from runtime.images.skopeo import Skopeo
from runtime.images.store import ImageStore
from runtime.model import Fetching, Image
from runtime.state import held

PAUSES_S = (0.5, 1.0, 2.0, 4.0)  # before each new attempt at a download that broke off
DEEPEST_INDEX = 2
Progress = Callable[[Fetching], None]


@dataclass(frozen=True)
class Found:
    """A manifest where it was found: `at` is by digest, `blobs` are sizes by digest."""

    at: Reference
    data: bytes
    blobs: Mapping[str, int]


class Registry:
    """Reads from registries into a store. `root` is for drafts, on the store's file system."""

    def __init__(
        self,
        store: ImageStore,
        root: Path,
        locks: Path,
        settings_file: Path = settings.FILE,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._store = store
        self._root = root
        self._locks = locks
        self._settings_file = settings_file
        self._environ = environ

    def resolve(self, ref: Reference) -> Image:
        """What `ref` names now; fetches no layers. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""
        skopeo = self._skopeo()
        found = self._find(skopeo, ref)
        config = manifest.parse(skopeo.config(found.at), f"configuration of {ref}")
        return Image(str(ref), found.at.digest, manifest.image_config(config))

    def pull(self, ref: Reference, progress: Progress = lambda _: None) -> Image:
        """Bring what `ref` names now into the store. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""
        skopeo = self._skopeo()
        found = self._find(skopeo, ref)
        with ExitStack() as stack:
            for digest in sorted(self._missing(found)):  # in order, so that two pulls never wait for each other
                stack.enter_context(held(self._locks / f"blob-{digest.removeprefix('sha256:')}"))
            if self._missing(found):  # nobody fetched them meanwhile
                self._fetch(skopeo, ref, found, progress)
        self._store.blobs.add(found.data)
        return self._store.keep(found.at.digest, ref)

    def _skopeo(self) -> Skopeo:
        """The settings are read anew, so that an edit counts without a restart of who runs on."""
        return Skopeo(self._root, settings.read(self._settings_file), self._environ)

    def _missing(self, found: Found) -> list[str]:
        return [digest for digest in found.blobs if not self._store.blobs.has(digest)]

    def _find(self, skopeo: Skopeo, ref: Reference) -> Found:
        """In the first mirror that has it, else in the registry itself; its words count if nobody has it."""
        told: list[str] = []
        for place in _places(ref, skopeo.mirrors(ref.host)):
            try:
                return _found(skopeo, place)
            except RuntimeFault as err:
                if place == ref:
                    err.details = (*told, *err.details)
                    raise
                told.append(f"mirror {place.host}: {err.brief}")
        raise AssertionError("the registry itself is the last place")

    def _fetch(self, skopeo: Skopeo, ref: Reference, found: Found, progress: Progress) -> None:
        for pause_s in (*PAUSES_S, None):
            try:
                return self._attempt(skopeo, ref, found, progress)
            except (RegistryDenied, RegistryUntrusted):
                raise
            except RegistryUnavailable:
                if pause_s is None:
                    raise
                time.sleep(pause_s)
        return None

    def _attempt(self, skopeo: Skopeo, ref: Reference, found: Found, progress: Progress) -> None:
        # A layout for each pull: in a shared one, skopeos lose each other's entries and write over each other's files.
        missing = set(self._missing(found))
        total = sum(found.blobs.values())
        here = total - sum(found.blobs[digest] for digest in missing)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=self._root) as draft:
            fetched = Blobs(Path(draft))
            self._store.blobs.lend(fetched, found.blobs.keys() - missing)

            def watch() -> int:
                now = min(total, here + _arrived(Path(draft), fetched, missing))
                progress(Fetching(str(ref), now, total))
                return now

            try:
                watch()
                skopeo.copy(found.at, Path(draft), watch)
                progress(Fetching(str(ref), total, total))
            finally:  # whole blobs stay, whatever happened to the others: the next attempt asks for the rest
                self._store.blobs.adopt(fetched)


def _places(ref: Reference, mirrors: tuple[str, ...]) -> Iterator[Reference]:
    for mirror in mirrors:
        host, _, path = mirror.strip("/").partition("/")
        yield replace(ref, host=host, path=f"{path}/{ref.path}" if path else ref.path)
    yield ref


def _found(skopeo: Skopeo, place: Reference, depth: int = 0) -> Found:
    data = skopeo.manifest(place)
    digest = manifest.digest_of(data)
    if place.digest not in ("", digest):
        raise InvalidImage(f"{place.host} sent a manifest with digest {digest} for {place}")
    read = manifest.parse(data, str(place))
    if manifest.is_index(read):
        if depth == DEEPEST_INDEX:
            raise InvalidImage(f"{place} is an index of indexes of indexes")
        return _found(skopeo, replace(place, digest=manifest.for_platform(read, str(place))), depth + 1)
    return Found(replace(place, digest=digest), data, _sizes(read, str(place)))


def _sizes(read: Mapping[str, Any], what: str) -> dict[str, int]:
    """Of configuration and layers, as the manifest promises them."""
    found: dict[str, int] = {}
    for descriptor in (read.get("config"), *(read.get("layers") or ())):
        digest = manifest.descriptor_digest(descriptor, what)
        size = descriptor.get("size")
        if not isinstance(size, int) or size < 0:
            raise InvalidImage(f"{what} gives blob {digest} no size")
        found[digest] = size
    return found


def _arrived(draft: Path, fetched: Blobs, wanted: set[str]) -> int:
    """Bytes of whole blobs, and of those that skopeo is writing beside them."""
    whole = sum(_size(fetched.path(digest)) for digest in wanted)
    return whole + sum(_size(path) for path in draft.glob("oci-put-blob*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
