"""The driver of the announcer's Docker port, over a socket that says what Docker, an old Docker and Podman say.

tests/integration/announce holds it to a real Docker.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from registrator.announce.drivers.docker import DockerSocket
from registrator.announce.seen import Event
from registrator.errors import DockerAway

ID = "0123456789abcdef"
DOCKER = {
    "Type": "container",
    "Actor": {"ID": ID, "Attributes": {"signal": "15"}},
    "time": 7,
    "timeNano": 7_500_000_000,
}
NETWORK = {
    "Type": "network",
    "Actor": {"ID": "net", "Attributes": {"container": ID}},
    "time": 7,
    "timeNano": 7_500_000_000,
}
LINES: list[tuple[dict[str, Any], Event | None]] = [
    ({**DOCKER, "Action": "kill"}, Event("kill", ID, 7.5, {"signal": "15"})),
    ({**DOCKER, "Action": "health_status: healthy"}, Event("health_status: healthy", ID, 7.5, {"signal": "15"})),
    ({**DOCKER, "Action": "exec_start: /bin/true"}, None),
    ({**DOCKER, "Action": "top"}, None),
    ({**NETWORK, "Action": "disconnect"}, Event("disconnect", ID, 7.5, {"container": ID})),
    ({**NETWORK, "Action": "create", "Actor": {"ID": "net", "Attributes": {}}}, None),
    ({"status": "die", "id": ID, "from": "web", "time": 7}, Event("die", ID, 8.0)),  # before 1.22 of the API
    ({"status": "died", "Action": "died", "Actor": {"ID": ID}, "timeNano": 1_000_000_000}, Event("died", ID, 1.0)),
]


class Handler(BaseHTTPRequestHandler):
    """Just the calls that are needed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        if path == "/version":
            self.answer(200, {"ApiVersion": "1.41"})
        elif path == "/containers/json":
            self.answer(200, [{"Id": ID, "State": "running"}, {"Id": "old"}])
        elif path == f"/containers/{ID}/json":
            self.answer(200, {"Id": ID, "Name": "/web.0", "State": {"Running": True}})
        elif path == "/events":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for data in (json.dumps(line).encode() + b"\n" for line, _ in LINES):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.stay()
            self.close_connection = True
            with contextlib.suppress(ConnectionError):  # who listened has left meanwhile
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(404, {"message": f"No such container: {path}"})

    def stay(self) -> None:
        """What it does before it ends its events."""

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...

    def address_string(self) -> str:
        return ""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        request, _ = super().get_request()
        return request, ("docker", 0)


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[DockerSocket]:
    path = tmp_path / "docker.sock"
    with Server(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield DockerSocket({"DOCKER_HOST": f"unix://{path}"})
        server.shutdown()


def test_listing_and_inspection(docker: DockerSocket) -> None:
    assert docker.listing() == {ID: "running", "old": ""}
    found = docker.inspect(ID)
    assert found is not None and (found.id, found.name, found.running) == (ID, "web.0", True)
    assert docker.inspect("gone") is None


def test_events_in_the_words_of_each(docker: DockerSocket) -> None:
    assert list(docker.subscribe(0.0)) == [event for _, event in LINES if event is not None]


def test_nobody_there_is_away_and_says_why(tmp_path: Path) -> None:
    nobody = DockerSocket({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    for call in (nobody.listing, lambda: nobody.inspect(ID), lambda: nobody.subscribe(0.0)):
        with pytest.raises(DockerAway, match=r"none\.sock does not answer: No such file or directory"):
            call()


def test_closing_ends_a_stream_that_says_nothing(docker: DockerSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr(Handler, "stay", lambda _: hold.wait(60.0))
    events = docker.subscribe(0.0)
    heard: list[Event] = []
    reader = threading.Thread(target=lambda: heard.extend(events), daemon=True)
    reader.start()
    try:
        reader.join(timeout=0.1)
        assert reader.is_alive()
        events.close()
        reader.join(timeout=30.0)
        assert not reader.is_alive()
    finally:
        hold.set()
