"""Names of images, spelled out: `nginx` is docker.io/library/nginx:latest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runtime.errors import InvalidImage

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?")
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Reference:
    """registry host, path, and a tag or a digest (which wins). A bare digest has no host and no path."""

    host: str
    path: str
    tag: str
    digest: str

    @property
    def bare(self) -> bool:
        return not self.path

    @property
    def name(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def local(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP is allowed as Docker allows it."""
        host = self.host.partition(":")[0]
        return host == "localhost" or bool(_LOOPBACK.fullmatch(host))

    def __str__(self) -> str:
        if self.bare:
            return self.digest
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """Read a reference as people write it. Raises InvalidImage."""
    if DIGEST.fullmatch(text):
        return Reference("", "", "", text)
    rest, _, digest = text.partition("@")
    host, path = _host_and_path(rest)
    name, colon, tag = path.partition(":")
    reference = Reference(host, _with_library(host, name), tag if colon else "latest", digest)
    good = _HOST.fullmatch(reference.host) and _PATH.fullmatch(reference.path) and _TAG.fullmatch(reference.tag)
    if not good or ("@" in text and not DIGEST.fullmatch(digest)):
        raise InvalidImage(
            f"{text!r} is no image name", hint="Write [HOST[:PORT]/]NAME[:TAG] or NAME@sha256:…, in small letters."
        )
    return reference


def _host_and_path(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return "docker.io", text


def _with_library(host: str, name: str) -> str:
    return f"library/{name}" if host == "docker.io" and "/" not in name else name
