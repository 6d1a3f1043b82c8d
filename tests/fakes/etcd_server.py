"""A real etcd for tests, on free ports of loopback and in a directory of its own, to be killed, frozen and wiped."""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.ports import free_port


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and what it signed for a server at 127.0.0.1 and for a client."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


class EtcdServer:
    """One member, or one of several when `peers` (name -> peer port) names them all.

    With `certificates` it speaks TLS and asks clients for a certificate of the same authority.
    """

    syncs = True  # each write waits for the disk, as everywhere

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "m1",
        peers: dict[str, int] | None = None,
        args: tuple[str, ...] = (),
        certificates: Certificates | None = None,
    ):
        self.port = free_port()
        self._name = name
        self._peers = peers or {name: free_port()}
        self._args = args
        self._certificates = certificates
        self._log = folder / f"{name}.log"
        self.data = folder / f"{name}.etcd"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._certificates else 'http'}://{self.endpoint}"

    def start(self, *, wait: bool = True) -> EtcdServer:
        peer = f"http://127.0.0.1:{self._peers[self._name]}"
        cluster = ",".join(f"{n}=http://127.0.0.1:{p}" for n, p in self._peers.items())
        argv = [
            "etcd", f"--name={self._name}", f"--data-dir={self.data}", f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster={cluster}",
            "--heartbeat-interval=50", "--election-timeout=500", *self._tls_args(), *self._args,
            *(() if self.syncs else _unsynced()),
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, within_s: float = 40.0) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self._healthy():
                return
            time.sleep(0.02)
        raise AssertionError(f"etcd is not ready: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9; fine if it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """It holds its connections and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # The thread that the kernel chose stops the others, once it has a processor: until then they go on answering.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose all data; it must not be running."""
        assert self._process is None
        shutil.rmtree(self.data)

    def save(self, backup: Path) -> None:
        """A backup of the data; it must not be running."""
        assert self._process is None
        shutil.copytree(self.data, backup)

    def restore(self, backup: Path) -> None:
        """Back to an old backup; it must not be running."""
        self.wipe()
        shutil.copytree(backup, self.data)

    def etcdctl(self, *words: str, user: str = "") -> str:
        argv = ["etcdctl", f"--endpoints={self.url}", "--dial-timeout=30s", "--command-timeout=30s"]
        argv += [f"--user={user}"] if user else []
        if (files := self._certificates) is not None:
            argv += [f"--cacert={files.ca}", f"--cert={files.client}", f"--key={files.client_key}"]
        environment = {"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"}
        done = subprocess.run([*argv, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def compact(self, revision: int) -> None:
        """Forget the history before `revision`."""
        self.etcdctl("compact", "--physical", str(revision))

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None

    def _tls_args(self) -> list[str]:
        if (files := self._certificates) is None:
            return []
        return [
            "--client-cert-auth", f"--trusted-ca-file={files.ca}",
            f"--cert-file={files.server}", f"--key-file={files.server_key}",
        ]  # fmt: skip

    def _healthy(self) -> bool:
        try:
            connection = self._connection()
            try:
                connection.request("GET", "/health")
                return b"true" in connection.getresponse().read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False

    def _connection(self) -> http.client.HTTPConnection:
        if (files := self._certificates) is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        context = ssl.create_default_context(cafile=str(files.ca))
        context.load_cert_chain(files.client, files.client_key)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=1, context=context)


@contextmanager
def cluster(folder: Path, size: int = 3) -> Iterator[list[EtcdServer]]:
    """A running cluster; killed at the end."""
    peers = {f"m{number}": free_port() for number in range(1, size + 1)}
    members = [EtcdServer(folder, name=name, peers=peers) for name in peers]
    try:
        for member in members:
            member.start(wait=False)
        for member in members:
            member.wait_ready()
        yield members
    finally:
        for member in members:
            member.kill()


def make_certificates(folder: Path) -> Certificates:
    """An authority with a server's and a client's certificate, made by openssl."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(
        *(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key"))
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca_key = folder / "ca.key"
    _openssl("req", "-x509", *key, "-subj", "/CN=test authority", "-keyout", ca_key, "-out", files.ca)
    for name, cert, private in (("server", files.server, files.server_key), ("client", files.client, files.client_key)):
        request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={name}Auth\n")
        _openssl("req", "-new", *key[:-2], "-subj", f"/CN={name}", "-keyout", private, "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", files.ca, "-CAkey", ca_key, "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", cert,
        )  # fmt: skip
    return files


@functools.cache
def _unsynced() -> tuple[str, ...]:
    """What keeps etcd from waiting for the disk."""
    flag = "--unsafe-no-fsync"  # since 3.4.17
    known = subprocess.run(["etcd", flag, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    return (flag,) if known else ()


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
