"""Images from disk: OCI layout directories, OCI archives and `docker save` archives, all brought into one store."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, cast

from runtime.errors import InvalidImage
from runtime.images import manifest, reference
from runtime.images.blobs import Blobs
from runtime.images.reference import Reference
from runtime.model import Image

LARGEST_JSON_BYTES = 4 << 20


class Source(Protocol):
    """Named files, from a directory or an archive."""

    def open(self, name: str) -> BinaryIO | None:
        """None if there is no regular file of this name."""


class Keeper(Protocol):
    """Where images are brought to: blobs first, then the image that is made of them."""

    blobs: Blobs

    def keep(self, digest: str, ref: Reference | None) -> Image:
        """The image whose blobs are there is complete, and named `ref`. Raises InvalidImage."""


def load(store: Keeper, path: Path) -> list[Image]:
    """Bring the images at `path` into the store. Raises InvalidImage."""
    with _opened(path) as source:
        if (index := _json(source, "index.json")) is not None:
            return [
                image for entry in index.get("manifests") or () for image in _from_entry(store, source, entry, path)
            ]
        if (saved := _read(source, "manifest.json")) is not None:
            return [image for entry in _saved(saved, path) for image in _from_saved(store, source, entry)]
    raise InvalidImage(
        f"{path} holds no image: neither index.json nor manifest.json is in it",
        hint="Give an OCI layout directory, an OCI archive, or what `docker save` wrote.",
    )


def _from_entry(store: Keeper, source: Source, entry: Mapping[str, Any], path: Path) -> list[Image]:
    digest = manifest.descriptor_digest(entry, f"index of {path}")
    data = _blob_json(store, source, digest)
    if manifest.is_index(data):
        digest = manifest.for_platform(data, f"index {digest}")
        data = _blob_json(store, source, digest)
    configured = manifest.descriptor_digest(data.get("config"), digest)
    layers = manifest.layers(data, _blob_json(store, source, configured), digest)
    for layer in layers:
        _copy(store.blobs, source, layer.digest)
    return [store.keep(digest, _entry_name(entry))]


def _entry_name(entry: Mapping[str, Any]) -> Reference | None:
    notes = entry.get("annotations") or {}
    name = notes.get(manifest.CONTAINERD_NAME) or notes.get(manifest.REF_NAME)
    return reference.parse(name) if name else None


def _blob_json(store: Keeper, source: Source, digest: str) -> dict[str, Any]:
    try:
        data = store.blobs.read(digest)
    except InvalidImage:  # it is not here yet, or damaged
        _copy(store.blobs, source, digest)
        data = store.blobs.read(digest)
    return manifest.parse(data, digest)


def _copy(blobs: Blobs, source: Source, digest: str) -> None:
    if blobs.has(digest):
        return
    stream = source.open(f"blobs/sha256/{digest.removeprefix('sha256:')}")
    if stream is None:
        raise InvalidImage(f"blob {digest} is missing in the archive")
    with stream:
        blobs.add_stream(stream, digest)


def _saved(data: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(data)
    except ValueError as err:
        raise InvalidImage(f"manifest.json of {path} is no JSON", details=(str(err),)) from err
    if not isinstance(entries, list):
        raise InvalidImage(f"manifest.json of {path} is no list")
    return entries


def _from_saved(store: Keeper, source: Source, entry: Mapping[str, Any]) -> list[Image]:
    """An image in the old form of `docker save` has no manifest of its own: one is written for it."""
    config = _must_read(source, str(entry.get("Config")))
    layers = [_add_layer(store.blobs, source, str(name)) for name in entry.get("Layers") or ()]
    data = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": {"mediaType": manifest.OCI_CONFIG, "digest": store.blobs.add(config), "size": len(config)},
        "layers": layers,
    }
    digest = store.blobs.add(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())
    names = [reference.parse(name) for name in entry.get("RepoTags") or ()]
    return [store.keep(digest, name) for name in names] or [store.keep(digest, None)]


def _add_layer(blobs: Blobs, source: Source, name: str) -> dict[str, object]:
    stream = source.open(name)
    if stream is None:
        raise InvalidImage(f"layer {name} is missing in the archive")
    with stream:
        digest = blobs.add_stream(stream)
    return {"mediaType": manifest.OCI_LAYER, "digest": digest, "size": blobs.path(digest).stat().st_size}


def _json(source: Source, name: str) -> dict[str, Any] | None:
    data = _read(source, name)
    return None if data is None else manifest.parse(data, name)


def _must_read(source: Source, name: str) -> bytes:
    data = _read(source, name)
    if data is None:
        raise InvalidImage(f"{name} is missing in the archive")
    return data


def _read(source: Source, name: str) -> bytes | None:
    stream = source.open(name)
    if stream is None:
        return None
    with stream:
        data = stream.read(LARGEST_JSON_BYTES + 1)
    if len(data) > LARGEST_JSON_BYTES:
        raise InvalidImage(f"{name} is larger than {LARGEST_JSON_BYTES >> 20} MiB")
    return data


def _opened(path: Path) -> AbstractContextManager[Source]:
    if path.is_dir():
        return _Directory(path)
    try:
        return _Archive(path)
    except FileNotFoundError:
        raise InvalidImage(f"{path} does not exist", hint="Give the path of an archive or of an OCI layout.") from None
    except (OSError, tarfile.TarError, EOFError) as err:
        raise InvalidImage(f"{path} is no archive", details=(str(err),)) from err


class _Directory(AbstractContextManager["_Directory"]):
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO | None:
        path = self._root / name
        inside = path.resolve().is_relative_to(self._root.resolve())
        return path.open("rb") if inside and path.is_file() else None

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        return None


class _Archive(AbstractContextManager["_Archive"]):
    """A tar, gzipped or not. Nothing of it is ever written under a name that it chose."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        packed = self._file.read(2) == b"\x1f\x8b"
        self._file.seek(0)
        raw = cast("BinaryIO", gzip.GzipFile(fileobj=self._file)) if packed else self._file
        self._tar = tarfile.open(fileobj=raw, mode="r:")  # noqa: SIM115 - closed in __exit__
        self._members = {m.name.removeprefix("./"): m for m in self._tar}

    def open(self, name: str) -> BinaryIO | None:
        member = self._members.get(name)
        if member is None:
            return None
        try:
            found = self._tar.extractfile(member)  # follows links inside the archive, as `docker save` has them
        except KeyError:
            return None
        return None if found is None else cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", found)))

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._tar.close()
        self._file.close()
