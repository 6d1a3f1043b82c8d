"""Probes over raw sockets, and exec probes through the engine: cheap enough for hundreds a second."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from registrator.agent.health import Probe
from registrator.errors import EngineFault
from registrator.model.names import InstanceName
from registrator.model.release import Healthcheck

ExecProbe = Callable[[InstanceName, Sequence[str], float], tuple[int, str]]

_RESET_ON_CLOSE = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # SO_LINGER on, 0 s: no TIME_WAIT is left behind


class Probes:
    """See agent.ports.Prober. `exec_probe` runs a command inside an instance: (exit code, output)."""

    def __init__(self, exec_probe: ExecProbe, *, execs_at_once: int = 8) -> None:
        self._exec = exec_probe
        self._execs = asyncio.Semaphore(execs_at_once)

    async def probe(self, instance: InstanceName, address: str, check: Healthcheck) -> Probe:
        if check.kind == "none":
            return Probe(True)
        if check.kind == "exec":
            return await self._inside(instance, check)
        look = _http if check.kind == "http" else _tcp
        try:
            async with asyncio.timeout(check.timeout_s):
                return await look(address, check)
        except TimeoutError:
            return Probe(False, f"{_where(check)} did not answer within {check.timeout_s:g} s")
        except OSError as err:
            return Probe(False, f"{_where(check)}: {err.strerror or err}")

    async def _inside(self, instance: InstanceName, check: Healthcheck) -> Probe:
        async with self._execs:
            try:
                code, output = await asyncio.to_thread(self._exec, instance, check.test, check.timeout_s)
            except EngineFault as err:
                return Probe(False, f"healthcheck: {err.brief}")
        lines = output.strip().splitlines()
        return Probe(
            code == 0, "" if code == 0 else f"healthcheck exit code {code}" + (f": {lines[-1]}" if lines else "")
        )


async def _tcp(address: str, check: Healthcheck) -> Probe:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        await loop.sock_connect(sock, (address, check.port))
    return Probe(True)


async def _http(address: str, check: Healthcheck) -> Probe:
    loop = asyncio.get_running_loop()
    request = f"GET {check.path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: hecd-probe\r\nConnection: close\r\n\r\n"
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (address, check.port))
        await loop.sock_sendall(sock, request.encode())
        head = b""
        while b"\r\n" not in head and (piece := await loop.sock_recv(sock, 512)):
            head += piece
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    code = words[1].decode("ascii", "replace") if len(words) > 1 and words[0].startswith(b"HTTP/1.") else ""
    return Probe(code[:1] in ("2", "3"), f"{_where(check)} answered {code or 'no HTTP'}")


def _where(check: Healthcheck) -> str:
    return f"GET :{check.port}{check.path}" if check.kind == "http" else f"port {check.port}"
