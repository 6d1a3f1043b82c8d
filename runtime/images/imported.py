"""A root file system as an image: one layer from a tar, as debootstrap, `docker export` or buildroot leave it."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from pathlib import Path

from runtime.errors import InvalidImage
from runtime.images import build, manifest
from runtime.images.reference import Reference
from runtime.images.store import ImageStore
from runtime.model import Image, ImageConfig

CHUNK_BYTES = 1 << 20


def import_rootfs(store: ImageStore, path: Path, ref: Reference, config: ImageConfig, largest_bytes: int) -> Image:
    """Make an image of the tar at `path`, gzipped or not, under the name `ref`. Raises InvalidImage."""
    diff_id, packed = _diff_id(path, largest_bytes)
    with path.open("rb") as file:
        digest = store.blobs.add_stream(file)
    media_type = f"{manifest.OCI_LAYER}+gzip" if packed else manifest.OCI_LAYER
    layer = {"mediaType": media_type, "digest": digest, "size": store.blobs.path(digest).stat().st_size}
    return store.keep(build.manifest_of(store.blobs, [layer], [diff_id], config), ref)


def _diff_id(path: Path, largest_bytes: int) -> tuple[str, bool]:
    """The digest of the tar itself, and whether it is gzipped."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        hasher, size = hashlib.sha256(), 0
        with gzip.open(path) if packed else path.open("rb") as stream:
            _check_tar(stream.read(tarfile.BLOCKSIZE), hasher, path)
            while chunk := stream.read(CHUNK_BYTES):
                hasher.update(chunk)
                size += len(chunk)
                if size > largest_bytes:
                    raise InvalidImage(f"{path} is larger than {largest_bytes >> 20} MiB (largest_layer_mib)")
    except (EOFError, gzip.BadGzipFile, zlib.error) as err:
        raise InvalidImage(f"{path} is damaged", details=(str(err),)) from err
    return f"sha256:{hasher.hexdigest()}", packed


def _check_tar(first: bytes, hasher: hashlib._Hash, path: Path) -> None:
    try:
        tarfile.TarInfo.frombuf(first, "utf-8", "surrogateescape")
    except tarfile.TarError as err:
        raise InvalidImage(
            f"{path} is no tar of a root file system",
            details=(str(err),),
            hint="Give a tar, gzipped or not; for what `docker save` wrote: hecd-runtime image load",
        ) from err
    hasher.update(first)
