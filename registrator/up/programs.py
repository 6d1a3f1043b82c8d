"""Which programs one machine runs, and with what words. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from registrator.config import Config


@dataclass(frozen=True)
class Program:
    """A child process. It is started once every path in `after` exists; `ended` is run each time it has ended."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    after: tuple[Path, ...] = ()
    ended: tuple[str, ...] = ()


def programs(config: Config, *, etcd_port: int, peer_port: int) -> tuple[Program, ...]:
    """The programs of `hecd up`, in the order of their start. They stop in reverse."""
    ours = node_environment(config)
    return (
        Program("etcd", _etcd(config, etcd_port, peer_port)),
        Program("confd-py", _confd(config, etcd_port), haproxy_environment(config)),
        Program("holder", (sys.executable, "-m", "registrator", "holder"), ours),
        Program("haproxy", haproxy(config), haproxy_environment(config), after=(haproxy_config(config),)),
        Program("control", (sys.executable, "-m", "registrator", "control"), ours),
        Program("agent", (sys.executable, "-m", "registrator", "agent"), ours),
    )


def node_environment(config: Config) -> dict[str, str]:
    """The settings of this node for its own programs."""
    return {
        "HECD_NODE": config.node,
        "HECD_ROLES": ",".join(config.roles),
        "HECD_ADDRESS": config.address,
        "HECD_ROOT": config.root,
        "HECD_ETCD": ",".join(config.etcd),
        "HECD_SUBNET_POOL": config.subnet_pool,
        "HECD_BRIDGE": config.bridge,
        "HECD_ENGINE": config.engine,
        "HECD_DOCKER_SOCKET": config.docker_socket,
        "HECD_LEASE_TTL": str(config.lease_ttl),
        "HECD_LABELS": ",".join(config.labels),
        "HECD_LOG_LEVEL": config.log_level,
    }


def haproxy_environment(config: Config) -> dict[str, str]:
    """What templates/haproxy reads from the environment."""
    return {
        "HECD_HAPROXY_CFG": str(haproxy_config(config)),
        "HECD_HAPROXY_RUN": str(haproxy_run(config)),
        "HECD_HAPROXY_STATS_PORT": str(config.stats_port),
        "HECD_CERTIFICATES": str(config.certificate_folder),
    }


def haproxy_run(config: Config) -> Path:
    """The directory of HAProxy's sockets, configuration and state."""
    return config.run / "haproxy"


def haproxy_config(config: Config) -> Path:
    """The configuration that confd-py writes."""
    return haproxy_run(config) / "haproxy.cfg"


def haproxy(config: Config) -> tuple[str, ...]:
    """HAProxy with the configuration that confd-py writes."""
    master = haproxy_run(config) / "master.sock"
    return ("haproxy", "-W", "-q", "-S", f"{master},mode,600", "-f", str(haproxy_config(config)))


def _etcd(config: Config, port: int, peer_port: int) -> tuple[str, ...]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return (
        "etcd",
        "--name=hecd",
        f"--data-dir={config.lib / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=hecd={peer}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        "--logger=zap",
        "--log-level=error",
    )


def _confd(config: Config, port: int) -> tuple[str, ...]:
    script = Path(sys.executable).with_name("confd-py")
    return (
        str(script),
        "-watch",
        "-backend=etcdv3",
        f"-node=http://127.0.0.1:{port}",
        f"-confdir={config.run / 'confd'}",
        f"-log-level={config.log_level}",
    )
