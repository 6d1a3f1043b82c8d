"""The images of Docker or Podman. See ports.Images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.docker.connection import Connection
from runtime.errors import EngineRefused, ImageNotFound, mapped
from runtime.images import archive, credentials, manifest, reference, save
from runtime.images.blobs import Blobs
from runtime.images.credentials import Credentials
from runtime.images.reference import Reference
from runtime.images.refusal import refusal
from runtime.images.registry import Progress
from runtime.model import Fetching, Image

CERTS = "/etc/docker/certs.d"


class DockerImages:
    """An image from a registry has the digest that the registry gave it; one from disk that of its configuration."""

    def __init__(self, connection: Connection, scratch: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._connection = connection
        self._scratch = scratch
        self._environ = environ

    def resolve(self, ref: str) -> Image:
        """What `ref` names: here, else in its registry, from where it is pulled. Raises as `pull`."""
        return self.pull(ref)

    @mapped()
    def pull(self, ref: str, *, refresh: bool = False, progress: Progress = lambda _: None) -> Image:
        """Make the image present; if it is, nothing happens unless `refresh` asks the registry what a tag names now.
        `progress` is called while bytes arrive. Raises ImageNotFound, RegistryUnavailable, InvalidImage, EngineAway."""
        parsed = reference.parse(ref)
        found = self._find(parsed)
        if found is not None and (parsed.digest or not refresh):
            return found
        if parsed.bare:
            raise ImageNotFound(ref)
        self._fetch(parsed, progress)
        return self.here(ref)

    @mapped()
    def load(self, path: Path) -> list[Image]:
        """Bring in the images of an OCI layout, an OCI archive or a `docker save` archive. Raises InvalidImage,
        EngineAway, EngineRefused."""
        with tempfile.TemporaryDirectory(prefix=".load-", dir=self._scratch) as folder:
            draft = _Draft(Path(folder))
            images = archive.load(draft, path)
            target = Path(folder) / "images.tar"
            save.save(draft.blobs, images, target)  # in the form that every Docker reads
            with self._connection.asking() as api, target.open("rb") as file:
                for line in api.load_image(file):
                    if "error" in line:
                        raise EngineRefused(500, str(line["error"]))
            return [self.here(image.ref if image.ref != image.digest else draft.ids[image.digest]) for image in images]

    def list(self) -> list[Image]:
        """Every image, once for each of its names. Raises EngineAway."""
        with self._connection.asking() as api:
            listed = api.images()
        names = sorted({name for found in listed for name in found.get("RepoTags") or () if "<none>" not in name})
        return [image for name in names if (image := self._find(reference.parse(name))) is not None]

    def here(self, ref: str) -> Image:
        """The image, if the engine has it. Raises ImageNotFound, EngineAway."""
        found = self._find(reference.parse(ref))
        if found is None:
            raise ImageNotFound(ref)
        return found

    def engine_name(self, digest: str) -> str:
        """What the engine itself calls an image that is here. Raises ImageNotFound, EngineAway."""
        found = self._raw(digest) or self._by_digest(digest)
        if found is None:
            raise ImageNotFound(digest)
        return str(found["Id"])

    def _find(self, ref: Reference) -> Image | None:
        found = self._raw(str(ref))
        if found is None and ref.digest:
            found = self._raw(ref.digest) or self._by_digest(ref.digest)
        if found is None:
            return None
        return Image(str(ref), _digest(found, ref), manifest.image_config({"config": found.get("Config")}))

    def _raw(self, name: str) -> dict[str, Any] | None:
        try:
            with self._connection.asking() as api:
                found: dict[str, Any] = api.inspect_image(name)
                return found
        except EngineRefused as err:
            if err.status == 404:
                return None
            raise

    def _by_digest(self, digest: str) -> dict[str, Any] | None:
        """By what a registry called it, under whichever name."""
        with self._connection.asking() as api:
            for found in api.images():
                if any(known.endswith(f"@{digest}") for known in found.get("RepoDigests") or ()):
                    return self._raw(found["Id"])
        return None

    def _fetch(self, ref: Reference, progress: Progress) -> None:
        who = credentials.find(ref.host, self._environ)
        try:
            with self._connection.asking() as api:
                lines = api.pull(ref.name, tag=ref.digest or ref.tag, stream=True, decode=True, auth_config=_login(who))
                words = _followed(ref, lines, progress)
        except EngineRefused as err:
            words = err.words
        if words:
            raise refusal(ref, words, who, CERTS)


def _followed(ref: Reference, lines: Iterator[Mapping[str, Any]], progress: Progress) -> str:
    """Tell how far a pull is; what went wrong, "" if nothing."""
    done: dict[str, tuple[int, int]] = {}
    for line in lines:
        if "error" in line:
            return str(line["error"])
        detail = line.get("progressDetail") or {}
        if line.get("status") == "Downloading" and detail.get("total"):
            done[line["id"]] = (int(detail["current"]), int(detail["total"]))
            progress(Fetching(str(ref), *map(sum, zip(*done.values(), strict=True))))
    return ""


def _login(who: Credentials | None) -> dict[str, str]:
    if who is None:
        return {}
    if who.is_token:
        return {"identitytoken": who.secret}
    return {"username": who.user, "password": who.secret}


def _digest(found: Mapping[str, Any], ref: Reference) -> str:
    """The registry's, of this very repository where there are several; else the configuration's."""
    known = [name.partition("@") for name in found.get("RepoDigests") or () if "@" in name]
    if ref.digest and any(digest == ref.digest for _, _, digest in known):
        return ref.digest
    if not ref.bare:
        for name, _, digest in known:
            if reference.parse(name).name == ref.name:
                return str(digest)
    return f"sha256:{found['Id'].removeprefix('sha256:')}"


class _Draft:
    """Images on their way to the engine: blobs only, nothing is unpacked. `ids` are digests of configurations, by those
    of manifests. See archive.Keeper."""

    def __init__(self, root: Path) -> None:
        self.blobs = Blobs(root)
        self.ids: dict[str, str] = {}

    def keep(self, digest: str, ref: Reference | None) -> Image:
        read = manifest.parse(self.blobs.read(digest), f"manifest {digest}")
        self.ids[digest] = manifest.descriptor_digest(read.get("config"), digest)
        config = manifest.parse(self.blobs.read(self.ids[digest]), f"configuration {self.ids[digest]}")
        return Image(str(ref) if ref else digest, digest, manifest.image_config(config))
