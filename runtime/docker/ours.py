"""The containers of one root, asked of the engine, which may have others' as well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from runtime.docker import body, seen
from runtime.docker.connection import Connection
from runtime.errors import (
    ContainerExists,
    ContainerNotFound,
    EngineRefused,
    InvalidSpec,
    StartFailed,
    StillAlive,
)
from runtime.stopping import KILL_TIMEOUT_S

FOREIGN = "Another program made it in this engine: see `docker ps -a`, and take another name."
_GONE = "no such process"  # Podman looks into /proc of what it holds for running: it learns of an end a moment later
_ENDS_WITHIN_S = 5.0


class Ours:
    """`root` is the id of the root. Each call raises EngineAway, and EngineRefused for what nobody expects."""

    def __init__(self, connection: Connection, root: str) -> None:
        self._connection = connection
        self._root = root

    def find(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of a container, ours or not, by its whole name or id."""
        deadline = time.monotonic() + _ENDS_WITHIN_S
        while True:
            try:
                with self._connection.asking() as api:
                    found: dict[str, Any] = api.inspect_container(name)
            except EngineRefused as err:
                if err.status == 404:
                    return None
                if _GONE not in err.words or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return found if name in (found["Name"].lstrip("/"), found["Id"]) else None

    def has(self, found: Mapping[str, Any]) -> bool:
        """Whether this root made it."""
        return seen.is_ours(found, self._root)

    def must(self, name: str) -> dict[str, Any]:
        """One of ours. Raises ContainerNotFound."""
        found = self.find(name)
        if found is None or not self.has(found):
            raise ContainerNotFound(name)
        return found

    def all(self) -> list[dict[str, Any]]:
        """All of ours; one that is removed meanwhile is left out."""
        with self._connection.asking() as api:
            listed = api.containers(all=True, filters={"label": f"{body.ROOT_LABEL}={self._root}"})
        return [found for entry in listed if (found := self.find(entry["Id"])) is not None]

    def run_of(self, container: str) -> str:
        """A word for the run it is in; "" if it does not run."""
        found = self.find(container)
        return seen.run_of(found) if found is not None else ""

    def free(self, name: str) -> None:
        """Raises ContainerExists where the name is taken."""
        if (found := self.find(name)) is not None:
            raise ContainerExists(name, "" if self.has(found) else FOREIGN)

    def create(self, name: str, wanted: Mapping[str, Any]) -> None:
        """Raises ContainerExists, InvalidSpec."""
        try:
            with self._connection.asking() as api:
                api.create_container_from_config(wanted, name)
        except EngineRefused as err:
            if err.status == 409:
                raise ContainerExists(name, FOREIGN) from err
            if err.status == 400:
                raise InvalidSpec(name, (err.words,)) from err
            raise

    def start(self, name: str) -> None:
        """Raises StartFailed."""
        try:
            with self._connection.asking() as api:
                api.start(name)
        except EngineRefused as err:
            hint = "Does the command exist in the image?"
            raise StartFailed(f"{name} could not be started", details=(err.words,), hint=hint) from err

    def kill(self, name: str, number: int) -> None:
        """Fine if it has ended, also if the engine does not know that yet."""
        try:
            with self._connection.asking() as api:
                api.kill(name, number)
        except EngineRefused:
            deadline = time.monotonic() + _ENDS_WITHIN_S
            run = seen.run_of(self.must(name))
            while run and seen.run_of(self.must(name)) == run:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def delete(self, name: str) -> None:
        """Kill it, and make the engine forget it. Fine if it has. Raises StillAlive."""
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while True:
            try:
                with self._connection.asking() as api:
                    api.remove_container(name, force=True, v=True)
            except EngineRefused as err:
                if err.status == 404:
                    return
                if time.monotonic() > deadline:
                    raise StillAlive(name) from err
                time.sleep(0.1)  # somebody else removes it, or a process in it waits for the kernel
            else:
                return
