"""Images to disk: an archive that is an OCI archive and what `docker save` writes at once: everybody reads it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.images import manifest
from runtime.images.blobs import Blobs
from runtime.model import Image

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def save(blobs: Blobs, images: Sequence[Image], target: Path) -> None:
    """Write the images to `target`, whole or not at all. Raises InvalidImage."""
    draft = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
            _write(tar, blobs, images)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _write(tar: tarfile.TarFile, blobs: Blobs, images: Sequence[Image]) -> None:
    index, saved = [], []
    needed: dict[str, None] = {}  # in order, each once
    for image in images:
        data = blobs.read(image.digest)
        read = manifest.parse(data, f"manifest {image.digest}")
        parts = [manifest.descriptor_digest(part, image.digest) for part in (read["config"], *read["layers"])]
        needed |= dict.fromkeys([*parts, image.digest])
        index.append(_descriptor(image, read, len(data)))
        saved.append(_entry(image, parts))
    for digest in needed:
        info = tarfile.TarInfo(_name(digest))
        with blobs.path(digest).open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, file)
    for name, data in (
        ("index.json", _json({"schemaVersion": 2, "manifests": index})),
        ("manifest.json", _json(saved)),
        ("oci-layout", LAYOUT),
    ):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _descriptor(image: Image, read: dict[str, Any], size: int) -> dict[str, object]:
    found = {"mediaType": read.get("mediaType", manifest.OCI_MANIFEST), "digest": image.digest, "size": size}
    named = {} if image.ref == image.digest else {"annotations": _notes(image.ref)}
    return {**found, **named}


def _notes(ref: str) -> dict[str, str]:
    return {manifest.REF_NAME: ref, manifest.CONTAINERD_NAME: ref}


def _entry(image: Image, parts: Sequence[str]) -> dict[str, object]:
    """What Docker before 25 reads. It takes no name by digest."""
    names = [] if "@" in image.ref or image.ref == image.digest else [image.ref]
    return {"Config": _name(parts[0]), "RepoTags": names, "Layers": [_name(digest) for digest in parts[1:]]}


def _name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
