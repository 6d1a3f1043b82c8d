"""Manifests, indexes and configurations of OCI and of Docker, read from bytes that nobody has to trust."""

from __future__ import annotations

import hashlib
import json
import platform
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import InvalidImage
from runtime.images.reference import DIGEST
from runtime.model import ImageConfig

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True)
class Layer:
    """A layer as it is stored (`digest`, compressed or not) and as it is unpacked (`diff_id`)."""

    digest: str
    diff_id: str


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def architecture() -> str:
    """This machine's, in the words of images."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def parse(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises InvalidImage."""
    try:
        found = json.loads(data)
    except ValueError as err:
        raise InvalidImage(f"{what} is no JSON", details=(str(err),)) from err
    if not isinstance(found, dict):
        raise InvalidImage(f"{what} is no JSON object")
    return found


def is_index(manifest: Mapping[str, Any]) -> bool:
    return isinstance(manifest.get("manifests"), list)


def for_platform(index: Mapping[str, Any], what: str) -> str:
    """The digest of this platform's manifest in an index. Raises InvalidImage."""
    wanted = architecture()
    there = []
    for entry in index["manifests"]:
        found = entry.get("platform") or {}
        if found.get("os", "linux") == "linux" and found.get("architecture", wanted) == wanted:
            return descriptor_digest(entry, what)
        there.append(f"{found.get('os')}/{found.get('architecture')}")
    raise InvalidImage(f"{what} has nothing for linux/{wanted}", details=(f"It has: {', '.join(there)}.",))


def descriptor_digest(descriptor: Any, what: str) -> str:
    """Raises InvalidImage where the digest is missing or of a kind we do not check."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise InvalidImage(f"{what} names a digest that is no sha256: {digest!r}")
    return digest


def layers(manifest: Mapping[str, Any], config: Mapping[str, Any], what: str) -> tuple[Layer, ...]:
    """The layers, the lowest first. Raises InvalidImage."""
    stored = manifest.get("layers")
    rootfs = config.get("rootfs") or {}
    diff_ids = rootfs.get("diff_ids")
    if not isinstance(stored, list) or not isinstance(diff_ids, list) or len(stored) != len(diff_ids):
        raise InvalidImage(f"the layers of {what} do not match its configuration")
    if not stored:
        raise InvalidImage(f"{what} has no layers")
    return tuple(
        Layer(descriptor_digest(s, what), descriptor_digest({"digest": d}, what))
        for s, d in zip(stored, diff_ids, strict=True)
    )


def image_config(config: Mapping[str, Any]) -> ImageConfig:
    """What the configuration says about containers."""
    c = config.get("config") or {}
    env = dict(e.partition("=")[::2] for e in c.get("Env") or ())
    return ImageConfig(
        entrypoint=tuple(c.get("Entrypoint") or ()),
        command=tuple(c.get("Cmd") or ()),
        env=env,
        user=c.get("User") or "",
        working_dir=c.get("WorkingDir") or "",
        exposed_ports=tuple(c.get("ExposedPorts") or ()),
        stop_signal=c.get("StopSignal") or "",
        labels=dict(c.get("Labels") or {}),
        volumes=tuple(sorted({_absolute(target) for target in c.get("Volumes") or ()} - {"/"})),
    )


def _absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))
