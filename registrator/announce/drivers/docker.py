"""Docker or Podman through its socket: the one file that imports the docker library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker.errors
import requests
from docker.utils import kwargs_from_env

from registrator.announce.container import Container, read
from registrator.announce.ports import Events
from registrator.announce.seen import DIED, GONE, NEWS, Event
from registrator.errors import DockerAway

SOCKETS = ("/tmp/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock")  # noqa: S108 - registrator's place
ANSWER_WITHIN_S = 10
_ACTIONS = DIED | GONE | NEWS | {"kill", "stop"}


class DockerSocket:
    """See announce.ports.Docker. DOCKER_HOST and Docker's other variables say where it is."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._api: docker.APIClient | None = None

    @property
    def host(self) -> str:
        """Where it is, as DOCKER_HOST has it."""
        there = next((path for path in SOCKETS if Path(path).is_socket()), SOCKETS[1])
        return self._environment.get("DOCKER_HOST") or f"unix://{there}"

    def subscribe(self, since: float) -> Events:
        with _mapped(self.host):
            self._api = self._connect()  # a new one each time: the last may have gone with Docker
            wanted = {"type": ["container", "network"]}
            lines = self._connect().events(since=int(since), filters=wanted, decode=True)
        return _Events(lines, self.host)

    def listing(self) -> Mapping[str, str]:
        with _mapped(self.host):
            return {found["Id"]: found.get("State", "") for found in self._connected().containers(all=True)}

    def inspect(self, container: str) -> Container | None:
        with _mapped(self.host):
            try:
                return read(self._connected().inspect_container(container))
            except docker.errors.NotFound:
                return None

    def _connected(self) -> docker.APIClient:
        if self._api is None:
            self._api = self._connect()
        return self._api

    def _connect(self) -> docker.APIClient:
        settings: dict[str, Any] = {"base_url": self.host, **kwargs_from_env(environment=self._environment)}
        version = self._environment.get("DOCKER_API_VERSION", "auto")
        return docker.APIClient(version=version, timeout=ANSWER_WITHIN_S, **settings)


class _Events:
    """See announce.ports.Events."""

    def __init__(self, lines: Any, host: str) -> None:
        self._lines = lines
        self._host = host

    def __iter__(self) -> Iterator[Event]:
        with _mapped(self._host):
            for line in self._lines:
                if (event := _event(line)) is not None:
                    yield event

    def close(self) -> None:
        with suppress(OSError, AttributeError):  # it has ended already
            self._lines.close()


def _event(line: Mapping[str, Any]) -> Event | None:
    actor = line.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    action = line.get("Action") or line.get("status") or ""
    subject = attributes.get("container", "") if line.get("Type") == "network" else actor.get("ID") or line.get("id")
    if not subject or (action not in _ACTIONS and not action.startswith("health_status")):
        return None
    # An old Docker tells whole seconds: the end of that second is no earlier than what happened in it.
    at = line["timeNano"] / 1e9 if line.get("timeNano") else float(line.get("time") or 0) + 1
    return Event(action, subject, at, attributes)


@contextmanager
def _mapped(host: str) -> Iterator[None]:
    try:
        yield
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as err:
        hint = "Start Docker, or set DOCKER_HOST."
        raise DockerAway(f"Docker at {host} does not answer: {_cause(err)}", hint=hint) from err


def _cause(err: BaseException) -> str:
    """The first cause in one line: the library wraps it several times over."""
    while (inner := err.__cause__ or err.__context__) is not None:
        err = inner
    return (err.strerror if isinstance(err, OSError) and err.strerror else str(err)).splitlines()[0]
