"""Small apps that tell what reached them, and a client that shows what came back."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.integration.confd_py.conftest import Ring


class App(ThreadingHTTPServer):
    """Answers every request with what it was, as JSON; `statuses` is what it answers in turn, `delay_s` how late."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.status = 200
        self.delay_s = 0.0
        self.hits = 0
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: App

    def _answer(self) -> None:
        app, length = self.server, int(self.headers.get("content-length", 0))
        self.rfile.read(length)
        check = self.path == "/health"
        if not check:
            with app.lock:
                app.hits += 1
                app.at_once += 1
                app.most_at_once = max(app.most_at_once, app.at_once)
            time.sleep(app.delay_s)
        seen = {"name": app.name, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(seen).encode()
        self.send_response(200 if check else app.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if not check:
            with app.lock:
                app.at_once -= 1

    do_GET = do_POST = do_PUT = do_HEAD = _answer

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def seen(self) -> dict[str, object]:
        """What the app saw of the request."""
        found: dict[str, object] = json.loads(self.body)
        return found

    @property
    def by(self) -> str:
        return str(self.seen["name"])


def ask(
    port: int, path: str = "/", *, host: str = "h.example", method: str = "GET", body: bytes | None = None,
    headers: dict[str, str] | None = None, chunked: bool = False, socket_path: str = "",
) -> Answer:  # fmt: skip
    """One request on its own connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        if socket_path:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(socket_path)
        connection.request(
            method, path, iter([body]) if chunked else body, {"Host": host, **(headers or {})}, encode_chunked=chunked
        )
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@contextmanager
def apps(ring: Ring, *names: str) -> Iterator[list[App]]:
    """An app for each instance `service.number`, announced and ended with the block."""
    made = [App(name) for name in names]
    try:
        for app in made:
            service, _, number = app.name.rpartition(".")
            ring.instance(int(number), service=service, address=app.address)
        yield made
    finally:
        for app in made:
            app.stop()
