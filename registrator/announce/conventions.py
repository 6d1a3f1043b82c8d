"""registrator's conventions: which services a container offers, under which names, and where. Pure.

docs/registrator.md lists where this differs from the original.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.announce import metadata, tags, tagtemplate
from registrator.announce.container import ANYWHERE, Binding, Container
from registrator.announce.metadata import Metadata
from registrator.announce.tagtemplate import TemplateFault

COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_ONE_OFF = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Rules:
    """What the command line says of services. `host_address` is what the host's name resolves to."""

    host: str
    ip: str = ""
    host_address: str = ""
    internal: bool = False
    explicit: bool = False
    ip_label: str = ""
    tags: str = ""
    compose: bool = False  # name services as Compose does, and pass over `docker compose run`


@dataclass(frozen=True)
class Service:
    """One port of one container. `target` is the port inside; `id` names it in the whole cluster."""

    id: str
    name: str
    ip: str
    port: int
    target: str
    protocol: str = "tcp"
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    named: bool = False  # by SERVICE_NAME, not after its image


@dataclass(frozen=True)
class Offer:
    """The services of one container, and why a port is none: `notes` for whoever wonders, `warnings` for faults."""

    services: tuple[Service, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Port:
    inside: str
    protocol: str
    binding: Binding


def offer(container: Container, rules: Rules, network: Container | None = None) -> Offer:
    """What `container` offers. `network` is the container whose network it shares, if that is known."""
    if rules.compose and container.labels.get(COMPOSE_ONE_OFF, "").lower() == "true":
        return Offer(notes=("it is a one-off of `docker compose run`",))
    if container.network_mode == "none":
        return Offer(notes=("it has no network",))
    ports = _ports(container)
    forced, faults = _forced_tags(container, rules)
    open_ports = [port for port in ports if rules.internal or port.binding.port]
    notes = [f"port {port.inside} is not published on the host" for port in ports if port not in open_ports]
    services, warnings = [], list(faults)
    for port in open_ports:
        said = metadata.about(container, port.inside)
        if (reason := _ignored(said, rules)) is not None:
            notes.append(f"port {port.inside}: {reason}")
            continue
        service = _service(container, port, said, rules, network, forced, grouped=len(open_ports) > 1)
        if service.ip:
            services.append(service)
        else:
            warnings.append(f"port {port.inside} has no address that others could reach: give -ip")
    return Offer(tuple(services), tuple(notes or ["it has no ports"] if not services else notes), tuple(warnings))


def _ports(container: Container) -> list[_Port]:
    """Exposed ports, as if published under their own numbers (so they are with --net=host), and the published ones."""
    found: dict[str, tuple[Binding, ...]] = {p: (Binding("", p.partition("/")[0]),) for p in container.exposed}
    found |= container.published
    ports = []
    for name, bindings in found.items():
        inside, _, protocol = name.partition("/")
        ports.append(_Port(inside, protocol or "tcp", bindings[0] if bindings else Binding("", "")))
    return sorted(ports, key=lambda port: (_number(port.inside), port.protocol))


def _ignored(said: Metadata, rules: Rules) -> str | None:
    if said.get("ignore"):
        return "SERVICE_IGNORE is set"
    return "it has no SERVICE_NAME, and -explicit asks for one" if rules.explicit and not said.get("name") else None


def _service(
    container: Container,
    port: _Port,
    said: Metadata,
    rules: Rules,
    network: Container | None,
    forced: str,
    *,
    grouped: bool,
) -> Service:
    name = said.get("name") or default_name(container, rules)
    if grouped and "name" not in said.of_port:
        name += f"-{port.inside}"
    udp = port.protocol == "udp"
    host = rules.host or _outside_address(port, rules)
    return Service(
        id=said.get("id") or f"{host}:{container.name}:{port.inside}" + (":udp" if udp else ""),
        name=name,
        ip=_address(container, port, rules, network),
        port=_number(port.inside if rules.internal else port.binding.port),
        target=port.inside,
        protocol=port.protocol,
        tags=tags.combine(said.get("tags"), forced, "udp" if udp else ""),
        attributes={k: v for k, v in said.values.items() if k not in ("id", "tags", "name")},
        named=bool(said.get("name")),
    )


def _forced_tags(container: Container, rules: Rules) -> tuple[str, tuple[str, ...]]:
    """What -tags says of this container, and why it says nothing."""
    if "{{" not in rules.tags:
        return rules.tags, ()
    try:
        return tagtemplate.parse(rules.tags).filled(container.document), ()
    except TemplateFault as err:
        return "", (f"-tags are left out: {err}",)


def default_name(container: Container, rules: Rules) -> str:
    """The name of a service that gives itself none: Compose's, where that is asked for, else its image's."""
    compose = container.labels.get(COMPOSE_SERVICE, "") if rules.compose else ""
    return compose or container.image.rstrip("/").rpartition("/")[2].partition(":")[0]


def _address(container: Container, port: _Port, rules: Rules, network: Container | None) -> str:
    if network is not None:
        return network.inside_address or _outside_address(port, rules)
    labelled = container.labels.get(rules.ip_label, "") if rules.ip_label else ""
    if labelled:
        return labelled.rpartition("/")[0] or labelled
    inside = container.inside_address if rules.internal else ""
    # A container on the host's own network has no address but the host's.
    return inside or ("" if rules.internal and container.network_mode != "host" else _outside_address(port, rules))


def _outside_address(port: _Port, rules: Rules) -> str:
    if rules.ip:
        return rules.ip
    return rules.host_address if port.binding.ip in ANYWHERE else port.binding.ip


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
