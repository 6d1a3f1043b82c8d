"""The name server of a host root: its names on disk, and the process that answers them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from runtime.errors import PortTaken, mapped
from runtime.paths import HostPaths
from runtime.process import Process, boot_id
from runtime.state import held, write_whole

PORT = 53
END_WITHIN_S = 5.0
_IP_FREEBIND = 15


class NameServer:
    """At the address of the bridge. Safe from any thread and process."""

    def __init__(self, paths: HostPaths, address: str) -> None:
        self._paths = paths
        self._address = address

    @property
    def serves(self) -> bool:
        """Whether containers are to ask it."""
        return self._paths.names_file.exists()

    @mapped()
    def serve(self, names: Mapping[str, Sequence[str]]) -> None:
        """Have containers that start from now on find these addresses by name, bare or with `.hecd` behind it, whoever
        else comes and goes. To be called with all names, as often as wanted. Raises PortTaken; containers then ask the
        host's name servers."""
        text = json.dumps({name: list(found) for name, found in sorted(names.items())}).encode()
        with held(self._paths.locks / "names"):
            if self._process() is None:
                self._start(text)
            elif self._known() != text:
                write_whole(self._paths.names_file, text)

    def names(self) -> dict[str, list[str]]:
        """What is answered now, by whomever it was told."""
        with contextlib.suppress(ValueError):
            found: dict[str, list[str]] = json.loads(self._known() or b"{}")
            return found
        return {}

    @mapped()
    def end(self) -> None:
        """Answer no more; fine if it is so."""
        with held(self._paths.locks / "names"):
            self._paths.names_file.unlink(missing_ok=True)
            if (process := self._process()) is not None:
                process.signal(15)
                process.wait(END_WITHIN_S)
            self._paths.resolver_file.unlink(missing_ok=True)

    def _start(self, text: bytes) -> None:
        # They are bound here, so that whoever has the port already is found now, and no question comes too early.
        with contextlib.ExitStack() as sockets:
            try:
                udp, tcp = (
                    sockets.enter_context(self._bound(kind)) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
                )
            except OSError as err:
                self._paths.names_file.unlink(missing_ok=True)
                raise PortTaken(f"{PORT} of {self._address}", "a name server of this host") from err
            write_whole(self._paths.names_file, text)
            fds = (udp.fileno(), tcp.fileno())
            argv = [sys.executable, "-m", "runtime.networks.resolver", str(self._paths.names_file), *map(str, fds)]
            with (self._paths.run / "resolver.log").open("wb") as log:
                child = subprocess.Popen(
                    argv,
                    pass_fds=fds,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._paths.run,
                    start_new_session=True,
                )
        if (process := Process.of(child.pid)) is not None:
            found = {"process": asdict(process), "boot": boot_id()}
            write_whole(self._paths.resolver_file, json.dumps(found).encode())

    def _bound(self, kind: socket.SocketKind) -> socket.socket:
        found = socket.socket(socket.AF_INET, kind)
        try:
            found.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)  # the bridge may come later
            if kind is socket.SOCK_STREAM:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((self._address, PORT))
            if kind is socket.SOCK_STREAM:
                found.listen(64)
        except BaseException:
            found.close()
            raise
        return found

    def _known(self) -> bytes:
        try:
            return self._paths.names_file.read_bytes()
        except FileNotFoundError:
            return b""

    def _process(self) -> Process | None:
        """The one that answers, if it lives."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            found = json.loads(self._paths.resolver_file.read_bytes())
            process = Process(**found["process"])
            if found["boot"] == boot_id() and process.alive():
                return process
        return None
