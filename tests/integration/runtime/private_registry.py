"""A private registry as in practice: the shipped templates, with nginx, docker-registry, a CA and htpasswd."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import parse_qs, urlsplit

from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import becomes

TEMPLATES = Path(__file__).parents[3] / "templates" / "registry"
USER, PASSWORD = "deploy", "s3cret:with colon"


class PrivateRegistry:
    """Everything below `folder`. With `token` docker-registry asks that server for tokens, and nginx for nothing."""

    def __init__(self, folder: Path, token: TokenServer | None = None) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.folder = folder
        self.port, self._inner = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._token = token
        self._children: list[subprocess.Popen[bytes]] = []
        self._nginx: subprocess.Popen[bytes] | None = None
        subprocess.run([TEMPLATES / "make-certificates", folder / "tls", "127.0.0.1", "localhost"], check=True)
        hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True)
        (folder / "htpasswd").write_text(f"{USER}:{hashed.stdout}")
        self._write()

    def __enter__(self) -> Self:
        with (self.folder / "registry.log").open("ab") as log:
            self._spawn(["docker-registry", "serve", str(self.folder / "config.yml")], log)
        becomes(lambda: _listens(self._inner), 30, (self.folder / "registry.log").read_text)
        self.start_nginx()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def start_nginx(self) -> None:
        with (self.folder / "nginx.log").open("ab") as log:
            self._nginx = self._spawn(["nginx", "-p", str(self.folder), "-c", str(self.folder / "main.conf")], log)
        becomes(lambda: _listens(self.port), 30, (self.folder / "nginx.log").read_text)

    def kill_nginx(self) -> None:
        """kill -9 of master and workers."""
        assert self._nginx is not None
        os.killpg(self._nginx.pid, signal.SIGKILL)
        self._children.remove(self._nginx)
        self._nginx.wait()
        becomes(lambda: not _listens(self.port))

    def slow_down(self, rate: str) -> None:
        """From the next start of nginx on, each answer comes at this rate."""
        self._write(f"proxy_buffering on; limit_rate {rate};")

    def push(self, layout: Path, ref: str, name: str, *options: str) -> None:
        """Bring an image of an OCI layout here, past nginx."""
        target = f"docker://127.0.0.1:{self._inner}/{name}"
        creds = [f"--dest-creds={USER}:{PASSWORD}"] if self._token else []
        argv = ["skopeo", "copy", "-q", "--dest-tls-verify=false", *creds, *options, f"oci:{layout}:{ref}", target]
        subprocess.run(argv, check=True)

    def gets(self, part: str = "/blobs/") -> list[str]:
        """Paths of the GET requests that were answered to the end, from nginx's log."""
        self._ask()  # its only worker writes a line when the answer is out, and before it hears of another request
        lines = (self.folder / "access.log").read_text().splitlines()
        asked = [path for method, path, status in map(str.split, lines) if method == "GET" and status == "200"]
        return [path for path in asked if part in path]

    def _ask(self) -> None:
        context = ssl.create_default_context(cafile=self.folder / "tls/ca.crt")
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as asking:
                asking.sendall(b"HEAD /v2/ HTTP/1.0\r\n\r\n")
                while asking.recv(4096):
                    pass

    def trust(self, certs: Path) -> None:
        """Let `certs`, a directory like certs.d, have the CA of this registry."""
        (certs / self.address).mkdir(parents=True)
        (certs / self.address / "ca.crt").write_bytes((self.folder / "tls/ca.crt").read_bytes())

    def _write(self, more: str = "") -> None:
        site = (TEMPLATES / "nginx.conf").read_text()
        changes = {
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl; {more}",
            "/etc/nginx/registry/server": f"{self.folder}/tls/server",
            "/etc/nginx/registry/htpasswd": f"{self.folder}/htpasswd",
            "127.0.0.1:5000": f"127.0.0.1:{self._inner}",
        }
        if more:
            changes["    proxy_buffering off;\n"] = ""
        if self._token:
            changes['auth_basic "registry";'] = "auth_basic off;"
            changes['proxy_set_header Authorization "";'] = ""
        (self.folder / "site.conf").write_text(_replaced(site, changes))
        config = (TEMPLATES / "config.yml").read_text()
        places = {"/var/lib/docker-registry": f"{self.folder}/data", "127.0.0.1:5000": f"127.0.0.1:{self._inner}"}
        token = self._token.settings() if self._token else ""
        (self.folder / "config.yml").write_text(_replaced(config, places) + token)
        (self.folder / "main.conf").write_text(
            f"daemon off; user root; worker_processes 1; pid {self.folder}/nginx.pid; error_log stderr;\n"
            "events {}\nhttp { log_format paths '$request_method $uri $status'; "
            f"access_log {self.folder}/access.log paths;\n"
            + "".join(f"{kind}_temp_path {self.folder}/{kind};\n" for kind in TEMPORARY)
            + f"include {self.folder}/site.conf; }}\n"
        )

    def _spawn(self, argv: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self._children.append(child)
        return child


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class TokenServer:
    """A token server as the distribution specification has it: basic auth for a signed token, good for one scope."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.granted: list[str] = []
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens",
             "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True,
        )  # fmt: skip
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def settings(self) -> str:
        """What docker-registry's configuration needs to ask for tokens of ours."""
        return (
            f"auth:\n  token:\n    realm: http://127.0.0.1:{self._server.server_port}/token\n    service: tests\n"
            f"    issuer: tests\n    rootcertbundle: {self._folder}/crt\n"
        )

    def token(self, scope: str) -> str:
        kind, name, actions = scope.split(":") if scope else ("", "", "")
        now = int(time.time())
        claims = {"iss": "tests", "aud": "tests", "sub": USER, "nbf": now - 10, "iat": now, "exp": now + 60, "jti": "1",
                  "access": [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else []}  # fmt: skip
        certificate = base64.b64encode(ssl.PEM_cert_to_DER_cert((self._folder / "crt").read_text())).decode()
        head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        signed = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(claims).encode())}"
        argv = ["openssl", "dgst", "-sha256", "-sign", str(self._folder / "key")]
        signature = subprocess.run(argv, input=signed.encode(), capture_output=True, check=True).stdout
        return f"{signed}.{_base64(signature)}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = self.headers.get("Authorization") == expected
                scope = parse_qs(urlsplit(self.path).query).get("scope", [""])[0]
                body = json.dumps({"token": server.token(scope)} if allowed else {"details": "incorrect username"})
                if allowed:
                    server.granted.append(scope)
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Silence."""

        return Handler


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the template has no {old!r} any more"
        text = text.replace(old, new)
    return text


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
