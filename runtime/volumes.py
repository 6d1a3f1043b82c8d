"""Named volumes: directories that outlive the containers they are mounted in; and those of one container only.

A named one exists if and only if its record does: it is made beside its place and renamed, and it is renamed away
before it is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from runtime.errors import InvalidSpec, KernelRefused, VolumeInUse, VolumeNotFound
from runtime.linux import open_inside
from runtime.model import ImageConfig, Mount, Volume
from runtime.paths import HostPaths
from runtime.state import held
from runtime.validation import NAME, NAME_WORDS

DRAFT = ".draft-"

Users = Callable[[str], Collection[str]]


class Volumes:
    """All volumes of one host root. `users` names the containers that mount a volume, half-made ones too."""

    def __init__(self, paths: HostPaths, users: Users) -> None:
        self._paths = paths
        self._users = users

    def create(self, name: str, labels: Mapping[str, str] | None = None) -> Volume:
        """Make it; one that is there is left as it is. Raises InvalidSpec."""
        if not NAME.fullmatch(name):
            raise InvalidSpec(name, (f"{name!r} is no name of a volume: {NAME_WORDS}",))
        with self._locked(name):
            if not self._paths.volume_record(name).exists():
                self._make(name, dict(labels or {}))
            return self.inspect(name)

    def inspect(self, name: str) -> Volume:
        """Raises VolumeNotFound."""
        try:
            found = json.loads(self._paths.volume_record(name).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise VolumeNotFound(name) from None
        path = str(self._paths.volume_data(name))
        return Volume(name, found["labels"], found["created_at"], path, tuple(sorted(self._users(name))))

    def all(self) -> list[Volume]:
        """All of them, by name."""
        found = []
        for name in sorted(entry.name for entry in os.scandir(self._paths.volumes)):
            with suppress(VolumeNotFound):  # a draft, or removed meanwhile
                found.append(self.inspect(name))
        return found

    def remove(self, name: str) -> None:
        """Delete it with all that is in it. Raises VolumeNotFound, VolumeInUse."""
        with self._locked(name):
            users = self.inspect(name).containers
            if users:
                raise VolumeInUse(name, users)
            draft = self._draft()
            self._paths.volume(name).rename(draft)
        shutil.rmtree(draft)

    def ready(self, name: str, rootfs: Path, target: str) -> Path:
        """The directory to mount. A new volume, or an empty one, first gets what the image has at `target`.

        A container that calls this has to be among the `users` before: then nobody removes the volume any more.
        """
        with self._locked(name):
            if not self._paths.volume_record(name).exists():
                self._make(name, {})
            data = self._paths.volume_data(name)
            if not any(os.scandir(data)):
                _fill(data, rootfs, target)
        return data

    def drafts(self) -> list[Path]:
        """What crashes left of volumes that were being made, filled or removed. Whoever is at it holds no lock on
        these: ask only while nobody is."""
        return [*self._paths.volumes.glob(f"{DRAFT}*"), *self._paths.volumes.glob(f"*/{DRAFT}*")]

    def _make(self, name: str, labels: dict[str, str]) -> None:
        draft = self._draft()
        draft.mkdir(mode=0o700)
        try:
            (draft / "data").mkdir()
            text = json.dumps({"labels": labels, "created_at": time.time()})
            (draft / "volume.json").write_text(text)
            draft.rename(self._paths.volume(name))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def _draft(self) -> Path:
        return self._paths.volumes / f"{DRAFT}{secrets.token_hex(6)}"

    def _locked(self, name: str) -> AbstractContextManager[None]:
        return held(self._paths.locks / f"volume-{name}")


def with_the_images(mounts: tuple[Mount, ...], image: ImageConfig) -> tuple[Mount, ...]:
    """The mounts, and a volume of its own for each place that the image wants one at and nothing is mounted at."""
    taken = {mount.target.rstrip("/") for mount in mounts}
    return (*mounts, *(Mount("volume", target) for target in image.volumes if target not in taken))


def of_its_own(directory: Path, rootfs: Path, target: str) -> Path:
    """The directory to mount of a volume without a name, below `directory`, which goes with the container. Whoever
    makes it first, makes it with what the image has at `target`."""
    data = directory / hashlib.sha256(target.encode()).hexdigest()[:16]
    if not data.exists():
        data.parent.mkdir(exist_ok=True)
        draft = data.parent / f"{DRAFT}{secrets.token_hex(6)}"
        draft.mkdir()
        _fill(draft, rootfs, target)
        draft.rename(data)
    return data


def _fill(data: Path, rootfs: Path, target: str) -> None:
    """Copy what the image has at `target`, with owners, modes and links. No link leads out of the image. The copy is
    made aside and renamed: a crash leaves the volume as empty as it was."""
    try:
        source = open_inside(rootfs, target, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    draft = data.parent / f"{DRAFT}{secrets.token_hex(6)}"
    try:
        argv = ["cp", "--archive", "--no-target-directory", f"/proc/self/fd/{source}/.", str(draft)]
        done = subprocess.run(argv, check=False, pass_fds=[source], capture_output=True, text=True)
        if done.returncode:
            words = tuple(done.stderr.strip().splitlines()[-4:])
            raise KernelRefused(
                f"cannot fill a volume with {target} of the image", details=words, hint="Is there room?"
            )
        draft.rename(data)
    finally:
        os.close(source)
        shutil.rmtree(draft, ignore_errors=True)
