"""`show servers state`: what the running HAProxy has, and the file a reload takes it over from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confd_py.haproxy.config import HaproxyConfig, Server

HEADER = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port\n"
)
FORCED_MAINT, FORCED_DRAIN = 0x01, 0x08  # bits of srv_admin_state that the Runtime API sets
OP_DOWN = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One server as the running HAProxy has it."""

    id: int
    address: str
    operational: int  # 0 down, 1 starting, 2 up, 3 stopping
    admin: int
    weight: int
    named: bool  # its address came from a name
    backend_id: int = 0

    @property
    def row(self) -> str:
        """Its row of `show stat`, by numbers: a frontend may have the backend's name."""
        return f"{self.backend_id} 4 {self.id}"

    @property
    def in_maintenance(self) -> bool:
        """Taken out by the Runtime API."""
        return bool(self.admin & FORCED_MAINT)

    @property
    def in_drain(self) -> bool:
        """Set to drain by the Runtime API."""
        return bool(self.admin & FORCED_DRAIN)


SeenServers = Mapping[str, Mapping[str, Seen]]


def parse_state(text: str) -> dict[str, dict[str, Seen]]:
    """Servers by backend and name, from the answer to `show servers state`."""
    found: dict[str, dict[str, Seen]] = {}
    for line in text.splitlines():
        part = line.split()
        if len(part) < 19 or line.startswith("#"):
            continue
        host = f"[{part[4]}]" if ":" in part[4] else part[4]
        found.setdefault(part[1], {})[part[3]] = Seen(
            id=int(part[2]),
            address=f"{host}:{part[18]}",
            operational=int(part[5]),
            admin=int(part[6]),
            weight=int(part[7]),
            named=part[17] != "-",
            backend_id=int(part[0]),
        )
    return found


def state_file(dump: str, wanted: HaproxyConfig) -> str:
    """The server-state file for a reload into `wanted`.

    A server that stays keeps what HAProxy knows of it: a sick one is not let in again by the reload. One that is new
    (or moved) starts in maintenance, so that it gets no request before the applier has let it in by a check.
    A backend that is new but has servers of an old one, at the same addresses, is that one under another name: they
    go on, or the reload would leave it without any for as long as the checks take.
    """
    lines = [HEADER]
    rows = [part for part in (line.split() for line in dump.splitlines()) if len(part) > 18]
    known = {(part[1], part[3]): part for part in rows}
    backends, by_name = {part[1] for part in rows}, {part[3]: part for part in rows}
    for backend, servers in wanted.backends.items():
        for server in servers.values():
            part = known.get((backend, server.name))
            if backend not in backends and (other := by_name.get(server.name)) is not None:
                part = ["1", backend, *other[2:]]
            lines.append(_kept(part, server) if part and _stays(part, server) else _closed(backend, server))
    lines += [" ".join(part) + "\n" for part in rows if part[1] not in wanted.backends]  # not ours to judge
    return "".join(lines)


def _stays(part: list[str], server: Server) -> bool:
    host = f"[{part[4]}]" if ":" in part[4] else part[4]
    in_service = not int(part[6]) & (FORCED_MAINT | FORCED_DRAIN)
    return in_service and (part[17] != "-" or f"{host}:{part[18]}" == server.address)


def _kept(part: list[str], server: Server) -> str:
    return " ".join([*part[:7], str(server.weight), str(server.weight), *part[9:]]) + "\n"


def _closed(backend: str, server: Server) -> str:
    if not server.dynamic or not server.checked:
        return ""
    host, _, port = server.address.rpartition(":")
    weight = str(server.weight)
    fields = ["1", backend, "1", server.name, host.strip("[]"), str(OP_DOWN), str(FORCED_MAINT), weight, weight]
    return " ".join([*fields, "0 6 3 0 6 0 0 0 -", port, "- 0 0 - - 0"]) + "\n"


def stat_rows(text: str) -> Iterable[dict[str, str]]:
    """Rows of `show stat` as dictionaries of column name to text."""
    names: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            names = line[2:].split(",")
        elif line and names:
            yield dict(zip(names, line.split(","), strict=False))
