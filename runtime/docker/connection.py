"""The socket of Docker or Podman: the one file that imports the docker library, and only when it is used.

Errors become ours here. What streams both ways or may be silent for long (commands, logs, events) goes over sockets of
its own: the library loses what arrives together with the header of an answer, and waits for the header itself.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from runtime.errors import EngineAway, EngineRefused

ANSWER_WITHIN_S = 60  # a start may have to wait for a disk


class Connection:
    """Asks in the newest version of the API that both sides know. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._api: Any = None
        self._is_podman: bool | None = None

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """The library's client. Raises EngineAway, EngineRefused."""
        import docker.errors
        import requests

        try:
            yield self._client()
        except docker.errors.APIError as err:
            status = 500 if err.response is None else err.response.status_code
            raise EngineRefused(status, str(err.explanation or err)) from err
        except (docker.errors.DockerException, requests.RequestException, OSError) as err:
            raise EngineAway(self.path, cause(err)) from err

    @property
    def is_podman(self) -> bool:
        """Whether it is Podman that answers as Docker would. Raises EngineAway."""
        if self._is_podman is None:
            with self.asking() as api:
                parts = api.version().get("Components") or ()
                self._is_podman = any("podman" in part.get("Name", "").lower() for part in parts)
        return self._is_podman

    def stream(self, path: str, **parameters: Any) -> Answer:
        """An answer that goes on. Raises EngineAway; `Answer.begin` tells the rest."""
        wire = _UnixConnection(self.path, None)
        with self._mapped():
            wire.request("GET", self._url(path, parameters), headers={"Host": "docker"})
        return Answer(self, wire)

    def hijack(self, path: str, body: Mapping[str, Any] | None = None) -> socket.socket:
        """POST, and then have the connection to oneself. The caller closes it. Raises EngineAway, EngineRefused."""
        with self._mapped():
            wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                wire.settimeout(ANSWER_WITHIN_S)
                wire.connect(str(self.path))
                wire.sendall(_upgrade(self._url(path, {}), body))
                status, head = _head(wire)
                if status not in (101, 200):
                    raise EngineRefused(status, _words(_rest(wire, head)))
                wire.settimeout(None)
            except BaseException:
                wire.close()
                raise
        return wire

    def _url(self, path: str, parameters: Mapping[str, Any]) -> str:
        return f"/v{self._client().api_version}{path}" + (f"?{urlencode(parameters)}" if parameters else "")

    def _client(self) -> Any:
        if self._api is None:
            import docker

            self._api = docker.APIClient(base_url=f"unix://{self.path}", version="auto", timeout=ANSWER_WITHIN_S)
        return self._api

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        with self.asking():
            try:
                yield
            except http.client.HTTPException as err:
                raise EngineAway(self.path, str(err) or "it hung up") from err


class Answer:
    """The request is under way; the answer is read as it comes. One thread reads, and closes."""

    def __init__(self, connection: Connection, wire: _UnixConnection) -> None:
        self._connection = connection
        self._wire = wire
        self._response: http.client.HTTPResponse | None = None

    def begin(self) -> None:
        """Wait for the header: from an idle Podman it comes with the first event. Raises EngineAway, EngineRefused."""
        with self._connection._mapped():
            self._response = self._wire.getresponse()
            if self._response.status != 200:
                raise EngineRefused(self._response.status, _words(self._response.read()))

    def read(self, count: int) -> bytes:
        """So many bytes, or less at the end. Raises EngineAway where it broke off."""
        assert self._response is not None
        with self._connection._mapped():
            return self._response.read(count)

    def lines(self) -> Iterator[bytes]:
        """Raises EngineAway where it broke off."""
        assert self._response is not None
        with self._connection._mapped():
            while line := self._response.readline():
                yield line

    def interrupt(self) -> None:
        """From any thread: who reads comes to the end."""
        if (wire := self._wire.sock) is not None:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """By who reads."""
        if self._response is not None:
            self._response.close()
        self._wire.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _upgrade(url: str, body: Mapping[str, Any] | None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()  # where none is wanted, Podman takes it for typed
    head = (
        f"POST {url} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    return head.encode() + data


def _head(wire: socket.socket) -> tuple[int, bytes]:
    """Status and header, read byte by byte: what follows is not ours to read."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := wire.recv(1)) or len(head) > 1 << 16:
            raise ConnectionResetError(104, "it hung up")
        head += byte
    words = head.split(b" ", 2)
    return int(words[1]), head


def _rest(wire: socket.socket, head: bytes) -> bytes:
    """A short answer with an error in it."""
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
    left, data = int(fields.get(b"content-length", b"4096")), b""
    while left > 0 and (chunk := wire.recv(left)):
        data, left = data + chunk, left - len(chunk)
    return data


def _words(data: bytes) -> str:
    try:
        found = json.loads(data)
        return str(found.get("message") or found.get("cause") or found)
    except (ValueError, AttributeError):
        return data.decode(errors="replace")


def cause(err: BaseException) -> str:
    """The first cause in one line: the library wraps it several times over."""
    while (inner := err.__cause__ or err.__context__) is not None:
        err = inner
    return ((err.strerror if isinstance(err, OSError) else None) or str(err) or type(err).__name__).splitlines()[0]
