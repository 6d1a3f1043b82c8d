"""A registry on loopback that serves an OCI layout: as much of the distribution API as pulling takes."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runtime.images.manifest import architecture


class FakeRegistry:
    """`tags` maps name:tag to digests; `requests` are the paths that were asked for."""

    def __init__(self, layout: Path, images: dict[str, str]) -> None:
        index = json.loads((layout / "index.json").read_text())
        by_ref = {e["annotations"]["org.opencontainers.image.ref.name"]: e["digest"] for e in index["manifests"]}
        self.tags: dict[str, str] = {name: by_ref[ref] for name, ref in images.items()}
        self.requests: list[str] = []
        self._blobs = {f"sha256:{p.name}": p.read_bytes() for p in (layout / "blobs/sha256").iterdir()}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"127.0.0.1:{self._server.server_port}"

    def add_index(self, name: str, of: str) -> str:
        """Let `name` be an index with another platform's image first, and that of `of`; its digest."""
        own = self.tags[of]
        entries: list[dict[str, Any]] = [
            {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "riscv64"}},
            {"digest": own, "platform": {"os": "linux", "architecture": architecture()}},
        ]
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifests = [{"mediaType": kind, "size": len(self._blobs.get(e["digest"], b"x")), **e} for e in entries]
        media_type = "application/vnd.oci.image.index.v1+json"
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).encode()
        self.tags[name] = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._blobs[self.tags[name]] = data
        return own

    def spoil_layers(self) -> None:
        """Let every layer have other bytes than its digest says, as many as before."""
        for digest, data in self._blobs.items():
            if data[:1] != b"{":
                self._blobs[digest] = data[:-1] + bytes([data[-1] ^ 1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _find(self, path: str) -> bytes | None:
        parts = path.strip("/").split("/")
        if parts == ["v2"]:
            return b"{}"
        name, kind, what = "/".join(parts[1:-2]), parts[-2], parts[-1]
        digest = what if kind == "blobs" or what.startswith("sha256:") else self.tags.get(f"{name}:{what}", "")
        return self._blobs.get(digest)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                registry.requests.append(self.path)
                found = registry._find(self.path)
                data = found or b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
                kind = "application/octet-stream"
                if found and "/manifests/" in self.path:
                    kind = json.loads(found)["mediaType"]
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", kind if found else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(data).hexdigest()}")
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Silence."""

        return Handler
