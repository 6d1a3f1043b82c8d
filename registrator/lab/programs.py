"""What each host of a lab runs, and with what words. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from registrator.config import Config
from registrator.lab.namespace import Namespace
from registrator.lab.plan import CLIENT_PORT, PEER_PORT, Host, Lab
from registrator.up.programs import Program, haproxy, haproxy_config, haproxy_environment

ETCD, CONFD, HOLDER, HAPROXY = "etcd", "confd-py", "holder", "haproxy"
CONTROL, AGENT = "control", "agent"


def names(host: Host) -> tuple[str, ...]:
    """The programs that the host has by its roles."""
    of_role = {"etcd": (ETCD,), "edge": (CONFD, HOLDER, HAPROXY), "control": (CONTROL,), "worker": ()}
    return (*(name for role in ("etcd", "edge", "control") if role in host.roles for name in of_role[role]), AGENT)


def programs(lab: Lab) -> tuple[Program, ...]:
    """The programs of all hosts. Each is called HOST/NAME and runs in its host's namespace, while both host and program
    are switched on."""
    return tuple(program for host in lab.hosts for program in _of_host(lab, host))


def environment(lab: Lab, host: Host) -> dict[str, str]:
    """What a program on the host has in its environment."""
    return {"HECD_CONFIG": str(lab.settings_file(host)), **haproxy_environment(lab.settings(host))}


def _of_host(lab: Lab, host: Host) -> Iterator[Program]:
    config = lab.settings(host)
    words: dict[str, tuple[str, ...]] = {
        ETCD: etcd_member(lab, host, config.lib / "etcd"),
        CONFD: _confd(lab, config),
        HOLDER: (sys.executable, "-m", "registrator", "holder"),
        HAPROXY: haproxy(config),
        CONTROL: (sys.executable, "-m", "registrator", "control"),
        AGENT: (sys.executable, "-m", "registrator", "agent"),
    }
    for name in names(host):
        after = [lab.switched_on(host), lab.switched_on(host, name)]
        after += [haproxy_config(config)] if name == HAPROXY else []
        argv = Namespace(lab.namespace(host)).command(words[name])
        yield Program(f"{host.name}/{name}", argv, environment(lab, host), tuple(after))


def etcd_member(lab: Lab, host: Host, data: Path) -> tuple[str, ...]:
    """One member of the lab's etcd."""
    client, peer = f"http://{host.address}:{CLIENT_PORT}", f"http://{host.address}:{PEER_PORT}"
    members = ",".join(f"{h.name}=http://{h.address}:{PEER_PORT}" for h in lab.hosts if "etcd" in h.roles)
    return (
        "etcd",
        f"--name={host.name}",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={members}",
        "--pre-vote=true",  # a member that comes back does not unseat the leader
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=1h",
        "--logger=zap",
        "--log-level=error",
    )


def _confd(lab: Lab, config: Config) -> tuple[str, ...]:
    nodes = (f"-node=http://{endpoint}" for endpoint in lab.endpoints)
    script = Path(sys.executable).with_name("confd-py")
    return (str(script), "-watch", "-backend=etcdv3", *nodes, f"-confdir={config.run / 'confd'}", "-log-level=info")
