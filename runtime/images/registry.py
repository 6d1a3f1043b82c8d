"""Images from registries, fetched by skopeo."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from runtime.errors import ImageNotFound, MissingProgram, RegistryUnavailable
from runtime.images import manifest
from runtime.images.blobs import Blobs
from runtime.images.reference import Reference
from runtime.images.store import ImageStore
from runtime.model import Image

SHORT_TIMEOUT_S = 60
COPY_TIMEOUT_S = 1800
_ABSENT = (
    "manifest unknown",
    "name unknown",
    "not found",
    "repository does not exist",
    "unauthorized",
    "access denied",
)


class Registry:
    """Reads from registries into a store. `root` is for drafts, on the store's file system."""

    def __init__(self, store: ImageStore, root: Path) -> None:
        self._store = store
        self._root = root

    def resolve(self, ref: Reference) -> Image:
        """What `ref` names now; fetches no layers. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""
        data = self._skopeo(ref, "inspect", "--raw", _url(ref))
        read = manifest.parse(data, str(ref))
        if manifest.is_index(read):
            chosen = manifest.for_platform(read, str(ref))
            return self.resolve(Reference(ref.host, ref.path, ref.tag, chosen))
        config = self._skopeo(ref, "inspect", "--config", "--raw", _url(ref))
        parsed = manifest.parse(config, f"configuration of {ref}")
        return Image(str(ref), manifest.digest_of(data), manifest.image_config(parsed))

    def pull(self, ref: Reference) -> Image:
        """Bring what `ref` names now into the store. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""
        # A layout for each pull: in a shared one, skopeos lose each other's entries and write over each other's files.
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=self._root) as draft:
            fetched = Blobs(Path(draft))
            self._store.blobs.lend(fetched)
            target = f"oci:{draft}:pulled"
            self._skopeo(ref, "copy", "--quiet", "--preserve-digests", _url(ref), target, timeout_s=COPY_TIMEOUT_S)
            index = manifest.parse((Path(draft) / "index.json").read_bytes(), "index.json")
            self._store.blobs.adopt(fetched)
        digest = manifest.descriptor_digest(index["manifests"][0], str(ref))
        return self._store.keep(digest, ref)

    def _skopeo(self, ref: Reference, command: str, *args: str, timeout_s: float = SHORT_TIMEOUT_S) -> bytes:
        program = shutil.which("skopeo")
        if program is None:
            raise MissingProgram("skopeo", "skopeo")
        side = "src-" if command == "copy" else ""
        insecure = [f"--{side}tls-verify=false"] if ref.local else []
        try:
            done = subprocess.run(
                [program, command, *insecure, *args], check=False, capture_output=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as err:
            raise RegistryUnavailable(f"{ref.host} did not answer within {timeout_s:.0f} s") from err
        if done.returncode:
            raise _mapped(ref, done.stderr.decode(errors="replace"))
        return done.stdout


def _url(ref: Reference) -> str:
    return f"docker://{ref}"


def _mapped(ref: Reference, words: str) -> ImageNotFound | RegistryUnavailable:
    """skopeo says everything in one log line: msg="…"."""
    lines = tuple(words.strip().splitlines()[-2:])
    if any(absent in words.lower() for absent in _ABSENT):
        return ImageNotFound(str(ref), details=lines)
    return RegistryUnavailable(f"{ref} is not on this host, and its registry cannot be read", details=lines)
