"""Settings of a node: default < file < environment < flag.

The file is TOML (/etc/hecd/hecd.toml unless HECD_CONFIG names another) with the names below; the environment has them
as HECD_<NAME>. A key of the file that nobody knows is refused, so that a misspelt one is not silently without effect.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from registrator.errors import HecdError
from registrator.model.names import is_label
from registrator.model.node import ROLES
from registrator.model.traffic import STATS_PORT

DEFAULT_FILE = Path("/etc/hecd/hecd.toml")
DEFAULT_ENDPOINT = "127.0.0.1:2379"
OVERLAYS = ("auto", "vxlan", "wireguard", "off")
ASKED_FOR = ("vxlan", "wireguard")  # without it the agent does not start
ENGINES = ("oci", "docker", "podman")
LOG_LEVELS = ("debug", "info", "warning", "error")
LEAST_TTL_S = 4  # where control is: below it there is no time in which a leader may act


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the authority to trust, and our own certificate and key if etcd asks for them."""

    ca: Path | None
    cert: Path | None
    key: Path | None


@dataclass(frozen=True)
class EtcdAccess:
    """How to reach etcd. `endpoints` are host:port."""

    endpoints: tuple[str, ...]
    tls: TlsFiles | None = None
    user: tuple[str, str] | None = None


@dataclass(frozen=True)
class Config:
    """All settings. Paths are directories; times are seconds."""

    node: str = ""  # "": the host's short name
    roles: tuple[str, ...] = ("worker", "edge", "control")
    address: str = "127.0.0.1"
    root: str = ""  # everything below it; "": /var/lib/hecd and /run/hecd
    etcd: tuple[str, ...] = ()  # (): the one `hecd up` runs here, else 127.0.0.1:2379
    etcd_ca: str = ""
    etcd_cert: str = ""
    etcd_key: str = ""
    etcd_user: str = ""
    etcd_password: str = ""
    subnet_pool: str = "10.87.0.0/16"  # with a root of its own: one of 10.88 to 10.127
    bridge: str = "hecd0"  # with a root of its own: a name of its own, so that two never share one
    engine: str = ""  # oci, docker or podman; "": docker where a socket is given, else what it was last, else oci
    docker_socket: str = ""  # Docker's or Podman's; "": where they have it
    overlay: str = "auto"  # auto: VXLAN, where `address` is one that other nodes reach, and the kernel has it
    underlay: str = ""  # the address of this node that tunnels end at; "": `address`
    vni: int = 87  # the same on all nodes, as is the port
    vxlan_port: int = 4789
    wireguard_port: int = 51820
    lease_ttl: int = 10
    node_lost_after: float = 30.0
    labels: tuple[str, ...] = ()  # zone=a: what placement.constraints and preferences speak of
    instances: int = 250  # how many this node takes at most
    cpus: float = 0.0  # what may be reserved here, as the next one; 0: all there is
    memory_bytes: int = 0
    stats_port: int = STATS_PORT
    certificates: str = ""  # a directory of PEM files for x-hecd.tls; "": one named so in /etc/hecd, or in the root
    log_level: str = "info"

    @property
    def lib(self) -> Path:
        """State that outlives a reboot."""
        return Path(self.root, "lib") if self.root else Path("/var/lib/hecd")

    @property
    def run(self) -> Path:
        """Sockets, pid files and generated configuration."""
        return Path(self.root, "run") if self.root else Path("/run/hecd")

    @property
    def certificate_folder(self) -> Path:
        """Where an operator puts the certificates of this node's load balancer."""
        return Path(self.certificates or Path(self.root or "/etc/hecd", "certificates"))

    @property
    def endpoint_file(self) -> Path:
        """Where `hecd up` says at which port its etcd is."""
        return self.run / "etcd"

    @property
    def tunnel_address(self) -> str:
        """The address that tunnels to this node end at; "" where it is to have none."""
        address = self.underlay or self.address
        return address if self.overlay in ASKED_FOR or (self.overlay == "auto" and _is_reachable(address)) else ""

    @property
    def tunnel_port(self) -> int:
        """The UDP port that tunnels end at, on all nodes."""
        return self.wireguard_port if self.overlay == "wireguard" else self.vxlan_port

    @property
    def access(self) -> EtcdAccess:
        """How to reach etcd."""
        files = [Path(p) if p else None for p in (self.etcd_ca, self.etcd_cert, self.etcd_key)]
        tls = TlsFiles(*files) if any(files) or any(e.startswith("https://") for e in self.etcd) else None
        user = (self.etcd_user, self.etcd_password) if self.etcd_user else None
        return EtcdAccess(self.etcd or (_local_endpoint(self.endpoint_file),), tls, user)


def network_of(root: str) -> tuple[str, str]:
    """The bridge and the pool of subnets that a root has unless others are named."""
    number = int(hashlib.sha256(root.encode()).hexdigest()[:8], 16)
    return f"hecd{number:08x}", f"10.{88 + number % 40}.0.0/16"


def load(flags: Mapping[str, Any], environment: Mapping[str, str], hostname: str | None = None) -> Config:
    """The settings in force. `flags` are those given on the command line, by name. Raises HecdError."""
    path = Path(environment.get("HECD_CONFIG", "") or DEFAULT_FILE)
    values: dict[str, Any] = _from_file(path, required=bool(environment.get("HECD_CONFIG")))
    values |= {f.name: environment[f"HECD_{f.name.upper()}"] for f in fields(Config) if _env(f.name) in environment}
    values |= {name: value for name, value in flags.items() if value is not None and value != ()}
    faults, settings = [], {}
    for field in fields(Config):
        if field.name in values:
            try:
                settings[field.name] = _convert(field.name, field.default, values[field.name])
            except ValueError as err:
                faults.append(f"{field.name}: {err}")
    if settings.get("root"):
        bridge, pool = network_of(settings["root"])
        settings.setdefault("bridge", bridge)
        settings.setdefault("subnet_pool", pool)
    settings.setdefault("node", (hostname or socket.gethostname()).split(".")[0].lower())
    if not is_label(settings["node"]):
        faults.append(f"node: {settings['node']!r} is not a DNS label; set --node or HECD_NODE")
    faults += _faults(Config(**settings))
    if faults:
        raise HecdError("the configuration is not valid", details=tuple(faults), hint=f"See {path} and HECD_*.")
    return Config(**settings)


def _faults(config: Config) -> Iterator[str]:
    """What can't be: said here, not by a part that is started again and again."""
    try:
        if ipaddress.ip_network(config.subnet_pool).prefixlen > 24:
            yield f"subnet_pool: {config.subnet_pool} is smaller than one node's /24"
    except ValueError as err:
        yield f"subnet_pool: {err}"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,14}", config.bridge):
        yield f"bridge: {config.bridge!r} is no name of a link: at most 15 lower-case letters, digits and -"
    if config.engine and config.engine not in ENGINES:
        yield f"engine: {config.engine!r} is not one of {', '.join(ENGINES)}"
    if config.docker_socket and config.engine == "oci":
        yield "docker_socket: the engine 'oci' has none; leave one of the two out"
    if config.docker_socket and not config.docker_socket.removeprefix("unix://").startswith("/"):
        yield f"docker_socket: {config.docker_socket!r} is no path: the engine has to be on this machine"
    if config.overlay not in OVERLAYS:
        yield f"overlay: {config.overlay!r} is not one of {', '.join(OVERLAYS)}"
    if (config.overlay in ASKED_FOR or config.underlay) and not _is_reachable(config.underlay or config.address):
        yield f"underlay: {config.underlay or config.address!r} is no IPv4 address that other nodes reach"
    if config.vni >= 1 << 24:
        yield f"vni: {config.vni} is no VNI: 1-16777215"
    for name in ("vxlan_port", "wireguard_port"):
        if getattr(config, name) > 65535:
            yield f"{name}: {getattr(config, name)} is no port"
    if config.log_level not in LOG_LEVELS:
        yield f"log_level: {config.log_level!r} is not one of {', '.join(LOG_LEVELS)}"
    for label in config.labels:
        if not re.fullmatch(r"[A-Za-z0-9._/-]{1,63}=[A-Za-z0-9._/-]{0,63}", label):
            yield f"labels: {label!r} is not NAME=VALUE, of letters, digits and . _ / -"
    for role in config.roles:
        if role not in ROLES:
            yield f"roles: {role!r} is not one of {', '.join(ROLES)}"
    if "control" in config.roles and config.lease_ttl < LEAST_TTL_S:
        yield f"lease_ttl: {config.lease_ttl} leaves a leader no time to act: {LEAST_TTL_S} or more where control is"
    if config.stats_port > 65535:
        yield f"stats_port: {config.stats_port} is no port"


def _is_reachable(address: str) -> bool:
    """Whether it is an IPv4 address that can be another node's way here."""
    try:
        found = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified or found.is_multicast)


def _local_endpoint(file: Path) -> str:
    try:
        return file.read_text().strip() or DEFAULT_ENDPOINT
    except OSError:
        return DEFAULT_ENDPOINT


def _env(name: str) -> str:
    return f"HECD_{name.upper()}"


def _from_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError as err:
        if not required:
            return {}
        raise HecdError(f"no configuration file at {path}", hint="HECD_CONFIG names it.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise HecdError(f"{path}: not valid TOML: {err}") from err
    unknown = sorted(set(values) - {f.name for f in fields(Config)})
    if unknown:
        known = ", ".join(f.name for f in fields(Config))
        raise HecdError(f"{path}: unknown key {', '.join(unknown)}", hint=f"Known keys: {known}.")
    return values


def _convert(name: str, default: object, value: Any) -> Any:
    """`value` in the type of `default`; text as the environment has it is accepted for all."""
    if isinstance(default, tuple):
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
            raise ValueError("must be a list of texts")
        return tuple(item.strip() for item in items if item.strip())
    if isinstance(default, int):
        number = int(value)
        if number <= 0:
            raise ValueError("must be greater than 0")
        return number
    if isinstance(default, float):
        if not 0.0 <= (figure := float(value)) < float("inf"):
            raise ValueError("must be a number, 0 or more")
        return figure
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value.rstrip("/") if name == "root" else value


def environment() -> Mapping[str, str]:
    """The process's environment, named here so that everything else gets it handed in."""
    return os.environ
