"""How announced services are written down: as HECD's records, or as registrator wrote them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from registrator.announce.container import Container
from registrator.announce.presence import Announced
from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName, is_service_name
from registrator.registry import schema
from registrator.registry.codec import CodecFault, decode, encode
from registrator.registry.store import Raw

NO_RELEASE = ReleaseNumber(0)
_SEGMENTS = re.compile(r"[\w][\w.:@+-]*(/[\w][\w.:@+-]*)*", re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_OWN_ID = re.compile(r"(.+?):[a-zA-Z0-9][a-zA-Z0-9_.-]+:[0-9]+(?::udp)?")


@dataclass(frozen=True)
class Wanted:
    """What a key is to hold, None for nothing, and why."""

    value: bytes | None
    reason: str


@dataclass(frozen=True)
class Page:
    """All that is to stand in the registry, and what can't: faults for the operator."""

    records: Mapping[str, Wanted]
    faults: tuple[str, ...] = ()


class Layout(Protocol):
    """One way to write services down, all below `prefix`."""

    @property
    def prefix(self) -> str:
        """What the keys begin with."""

    def page(self, announced: Iterable[Announced], published: Mapping[str, Raw], now: float) -> Page:
        """The records of all of `announced`. `published` is what stands there; `now` is seconds since the epoch."""

    def mine(self, key: str, raw: Raw) -> bool:
        """Whether an announcer of this host wrote it, as far as it can be told from the record itself."""

    def ending(self, container: Container, published: Mapping[str, Raw]) -> str:
        """The reason why an earlier announcer marked this run of `container` as draining; "" if none did."""


@dataclass(frozen=True)
class RegistratorLayout:
    """`<path>/<name>/<id>` = `ip:port`, there only while the service serves."""

    path: str
    host: str

    @property
    def prefix(self) -> str:
        return f"{self.path}/"

    def page(self, announced: Iterable[Announced], published: Mapping[str, Raw], now: float) -> Page:
        records: dict[str, Wanted] = {}
        faults = []
        for one in announced:
            service, stands = one.service, one.presence
            if (fault := self._fault(one)) is not None:
                faults.append(f"{one.container.name}: {fault}")
                continue
            key = f"{self.prefix}{service.name}/{service.id}"
            there = stands.serving or stands.state == "exited"
            value = endpoint(service.ip, service.port).encode() if there else None
            if value is not None or key not in records:
                records[key] = Wanted(value, stands.reason or "it serves")
        return Page(records, tuple(faults))

    def mine(self, key: str, raw: Raw) -> bool:
        found = _OWN_ID.fullmatch(key.rpartition("/")[2])
        return found is not None and found[1] == self.host

    def ending(self, container: Container, published: Mapping[str, Raw]) -> str:
        return ""

    def _fault(self, one: Announced) -> str | None:
        for word, text in (("name", one.service.name), ("id", one.service.id)):
            if not _SEGMENTS.fullmatch(text):
                return f"{text!r} can't be the {word} of a service: letters, digits and _ . : @ + - are taken"
        return _unreachable(one, _HOST.fullmatch(one.service.ip) is not None)


@dataclass(frozen=True)
class HecdLayout:
    """`/hecd/instances/<service>/<instance>`: one record for all ports that a container offers under one name."""

    node: NodeName

    @property
    def prefix(self) -> str:
        return f"{schema.ROOT}instances/"

    def page(self, announced: Iterable[Announced], published: Mapping[str, Raw], now: float) -> Page:
        found: dict[str, Instance] = {}
        gone: dict[str, Wanted] = {}
        faults = []
        for one in announced:
            if (fault := self._fault(one)) is not None:
                faults.append(f"{one.container.name}: {fault}")
                continue
            record = self._record(one)
            key = schema.key_of(record)
            if one.presence.state == "absent":
                gone[key] = Wanted(None, one.presence.reason)
            else:
                found[key] = _joined(found[key], record) if key in found else record
        records = {key: _wanted(record, published.get(key), now) for key, record in found.items()}
        return Page(gone | records, tuple(faults))

    def mine(self, key: str, raw: Raw) -> bool:
        record = _known(raw)
        if record is None or not record.foreign or record.node != self.node:
            return False
        return record.instance.startswith(f"{record.service}.{self.node}-") and schema.key_of(record) == key

    def ending(self, container: Container, published: Mapping[str, Raw]) -> str:
        tail = f".{self.node}-{container.id[:12]}"
        records = [_known(raw) for key, raw in published.items() if key.endswith(tail)]
        marked = [r for r in records if r and r.state == "draining" and r.changed_at > container.started_at]
        return marked[0].reason if marked else ""

    def _record(self, one: Announced) -> Instance:
        service, name = one.service, _service_name(one)
        return Instance(
            instance=InstanceName(f"{name}.{self.node}-{one.container.id[:12]}"),
            service=ServiceName(name),
            release=NO_RELEASE,
            node=self.node,
            endpoints={service.target: endpoint(service.ip, service.port)},
            state=one.presence.state,
            health=one.presence.health,
            check_path=service.attributes.get("check_http", ""),
            reason=one.presence.reason,
            tags=service.tags,
            attributes={"container": one.container.name, **service.attributes},
        )

    def _fault(self, one: Announced) -> str | None:
        name = _service_name(one)
        if not is_service_name(name):
            return f"{name!r} can't be the name of a service: set SERVICE_NAME to a DNS label of at most 52 characters"
        if one.service.protocol != "tcp":
            return f"port {one.service.target}/{one.service.protocol} is not announced: HECD's records are of TCP"
        return _unreachable(one, False)


def endpoint(ip: str, port: int) -> str:
    """`ip:port`, with brackets around an IPv6 address."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _unreachable(one: Announced, fine_as_name: bool) -> str | None:
    if not 0 < one.service.port < 65536:
        return f"{one.service.port} is no port"
    try:
        ipaddress.ip_address(one.service.ip)
    except ValueError:
        return None if fine_as_name else f"{one.service.ip!r} is no address"
    return None


def _service_name(one: Announced) -> str:
    """The name as it is given; one taken from an image or from Compose is made to fit where that is easy."""
    name = one.service.name
    return name if one.service.named else re.sub(r"[._]", "-", name.lower().partition("@")[0])


def _joined(first: Instance, other: Instance) -> Instance:
    """Two ports of one container under one name: as well as the worse of them."""
    worse = other if first.serving else first
    return replace(
        worse,
        endpoints={**first.endpoints, **other.endpoints},
        check_path=first.check_path or other.check_path,
        tags=tuple(dict.fromkeys((*first.tags, *other.tags))),
        attributes={**other.attributes, **first.attributes},
    )


def _wanted(record: Instance, raw: Raw | None, now: float) -> Wanted:
    """`record` with the time of its last change of state: unchanged, it is the same to the letter."""
    before = _known(raw) if raw is not None else None
    same = before is not None and (before.state, before.health) == (record.state, record.health)
    changed_at = before.changed_at if before is not None and same else now
    return Wanted(encode(replace(record, changed_at=changed_at)), record.reason or f"it is {record.state}")


def _known(raw: Raw) -> Instance | None:
    try:
        return decode(Instance, raw.value)
    except CodecFault:
        return None
