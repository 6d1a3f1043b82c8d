"""Small apps that tell what reached them, and a client that shows what came back."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S


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

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none."""

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
            with app.lock:
                app.at_once -= 1  # before it answers: who has the answer may send the next one at once
        seen = {"name": app.name, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(seen).encode()
        self.send_response(200 if check else app.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

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
    def received(self) -> dict[str, str]:
        """The request's headers as the app saw them."""
        found: dict[str, str] = json.loads(self.body)["headers"]
        return found

    @property
    def by(self) -> str:
        return str(self.seen["name"])


def ask(
    port: int, path: str = "/", *, host: str = "h.example", method: str = "GET", body: bytes | None = None,
    headers: dict[str, str] | None = None, chunked: bool = False, socket_path: str = "", tls: bool = False,
) -> Answer:  # fmt: skip
    """One request on its own connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)
    try:
        if tls:
            connection.sock = secure(port, host.partition(":")[0])
        if socket_path:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(socket_path)
        with contextlib.suppress(BrokenPipeError):  # the answer may come before the body is sent
            sent = iter([body or b""]) if chunked else body
            connection.request(method, path, sent, {"Host": host, **(headers or {})}, encode_chunked=chunked)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@contextmanager
def apps(ring: Ring, *names: str) -> Iterator[list[App]]:
    """An app for each instance `service.number`, which the load balancer has; ended with the block."""
    made, revision = [App(name) for name in names], 0
    try:
        for app in made:
            service, _, number = app.name.rpartition(".")
            revision = ring.instance(int(number), service=service, address=app.address)
        ring.until_applied(revision)  # until then old workers of nginx, too, take requests
        yield made
    finally:
        for app in made:
            app.stop()


class Holder:
    """Where requests of `web` wait beside HAProxy: connections are passed on when it is opened."""

    def __init__(self, ring: Ring) -> None:
        self._run, self._id = ring.haproxy.run, hashlib.sha256(b"web.80").hexdigest()[:12]
        self._opened = threading.Event()
        self._sockets: list[socket.socket] = []
        self.waiting = 0

    def __enter__(self) -> Holder:
        (self._run / "hold").mkdir()
        for name in ("alive", self._id):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(self._run / "hold" / f"{name}.sock"))
            sock.listen(100)
            self._sockets.append(sock)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()

    def open(self) -> None:
        """The hold has ended."""
        self._opened.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._sockets[1].accept()
            except OSError:
                return
            self.waiting += 1
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        self._opened.wait(SOON_S)
        with client, socket.socket(socket.AF_UNIX) as onward:
            onward.connect(str(self._run / f"onward-{self._id}.sock"))
            onward.sendall(client.recv(65536))
            while data := onward.recv(65536):
                client.sendall(data)


def certificate(*names: str, begins_days: float = -1, ends_days: float = 2, key_of: str = "") -> str:
    """Certificate and key in one PEM, self-signed for `names`; with `key_of`, the key of that PEM in its own one's
    place."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(begins_days))
        .not_valid_after(now + datetime.timedelta(ends_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    kind, no = serialization.Encoding.PEM, serialization.NoEncryption()
    own = key.private_bytes(kind, serialization.PrivateFormat.PKCS8, no).decode()
    return made.public_bytes(kind).decode() + (key_of[key_of.index("-----BEGIN PRIVATE") :] if key_of else own)


def secure(port: int, name: str, *, alpn: str = "http/1.1", version: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
    """A TLS connection for which `name` was asked; what it is shown is not verified."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(alpn.split())
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with closing_if_it_fails(socket.create_connection(("127.0.0.1", port), SOON_S)) as plain:
        return context.wrap_socket(plain, server_hostname=name)


@contextmanager
def closing_if_it_fails(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def shown(port: int, name: str) -> str:
    """SHA-256 of the certificate that a client who asks for `name` is shown; "" where it gets no connection."""
    try:
        with secure(port, name) as tls:
            return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    except (ssl.SSLError, ConnectionError):
        return ""


def print_of(pem: str) -> str:
    """The same of a PEM."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END") + 25])).hexdigest()


def in_http2(port: int, method: str, body: bytes = b"") -> int:
    """The status of a request in HTTP/2 that does not tell its length; without a body it ends with its head."""

    def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
        return len(data).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + data

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value

    pairs = ((b":method", method.encode()), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"h.example"))
    head = b"".join(literal(name, value) for name, value in pairs)
    with socket.create_connection(("127.0.0.1", port), SOON_S) as sock:
        data = frame(1, 4 | (not body), 1, head) + (frame(0, 1, 1, body) if body else b"")
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + data)
        stream = sock.makefile("rb")
        while True:
            length, kind = int.from_bytes(stream.read(3)), stream.read(6)[0]
            answer = stream.read(length)
            if kind == 1:  # indexed (200 alone, here), or the name by its index and three digits
                return 200 if answer[0] == 0x88 else int(answer[2:5])
