"""Blobs on disk, named by their digests: nothing gets in that is not what its name says."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from runtime.errors import InvalidImage
from runtime.images.manifest import digest_of
from runtime.images.reference import DIGEST

CHUNK_BYTES = 1 << 20


class Blobs:
    """`root/blobs/sha256/<hex>`, as in an OCI layout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._directory = root / "blobs" / "sha256"
        self._directory.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise InvalidImage(f"{digest!r} is no sha256 digest")
        return self._directory / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def read(self, digest: str) -> bytes:
        """A small blob, checked. Raises InvalidImage if it is missing or damaged."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise InvalidImage(f"blob {digest} is missing", hint="Pull or load the image again.") from None
        if digest_of(data) != digest:
            self.path(digest).unlink(missing_ok=True)
            raise InvalidImage(f"blob {digest} is damaged", hint="Pull or load the image again.")
        return data

    def add(self, data: bytes) -> str:
        """Keep bytes; their digest."""
        digest = digest_of(data)
        if not self.has(digest):
            self._keep(self._draft(data), digest)
        return digest

    def add_stream(self, stream: BinaryIO, expected: str | None = None) -> str:
        """Keep what a stream holds; its digest. Raises InvalidImage if that is not `expected`."""
        draft = self._directory / f".{os.urandom(8).hex()}"
        hasher = hashlib.sha256()
        try:
            with draft.open("wb") as out:
                while chunk := stream.read(CHUNK_BYTES):
                    hasher.update(chunk)
                    out.write(chunk)
            digest = f"sha256:{hasher.hexdigest()}"
            if expected not in (None, digest):
                raise InvalidImage(f"blob {expected} is damaged: its content has digest {digest}")
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self._keep(draft, digest)
        return digest

    def lend(self, other: Blobs, digests: Iterable[str]) -> None:
        """Let another directory of the same file system have these blobs, by hard links."""
        for digest in digests:
            with contextlib.suppress(FileNotFoundError):
                other.path(digest).hardlink_to(self.path(digest))

    def adopt(self, other: Blobs) -> None:
        """Take over what the other directory has and this one has not; each blob appears whole."""
        for digest in other.all():
            if not self.has(digest):
                other.path(digest).replace(self.path(digest))

    def all(self) -> list[str]:
        return [f"sha256:{e.name}" for e in os.scandir(self._directory) if not e.name.startswith(".")]

    def drop(self, digest: str) -> int:
        """Delete a blob; the bytes that were freed."""
        path = self.path(digest)
        size = path.stat().st_size
        path.unlink()
        return size

    def sweep(self) -> None:
        """Delete drafts that a crash left. Only while nobody adds."""
        for entry in self._directory.glob(".*"):
            entry.unlink()

    def _draft(self, data: bytes) -> Path:
        draft = self._directory / f".{os.urandom(8).hex()}"
        draft.write_bytes(data)
        return draft

    def _keep(self, draft: Path, digest: str) -> None:
        draft.replace(self.path(digest))
