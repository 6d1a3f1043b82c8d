"""What each host of a lab runs, and with what words. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from registrator.config import Config
from registrator.lab.namespace import Namespace
from registrator.lab.plan import CLIENT_PORT, PEER_PORT, Host, Lab
from registrator.lab.wires import CARD
from registrator.up.programs import Program, haproxy, haproxy_config, haproxy_environment

ETCD, CONFD, HOLDER, HAPROXY, KEEPALIVED = "etcd", "confd-py", "holder", "haproxy", "keepalived"
CONTROL, AGENT = "control", "agent"


def names(lab: Lab, host: Host) -> tuple[str, ...]:
    """The programs that the host has by its roles."""
    edge = (CONFD, HOLDER, HAPROXY, *([KEEPALIVED] if lab.vip else []))
    of_role = {"etcd": (ETCD,), "edge": edge, "control": (CONTROL,), "worker": ()}
    return (*(name for role in ("etcd", "edge", "control") if role in host.roles for name in of_role[role]), AGENT)


def programs(lab: Lab) -> tuple[Program, ...]:
    """The programs of all hosts. Each is called HOST/NAME and runs in its host's namespace, while both host and program
    are switched on."""
    return tuple(program for host in lab.hosts for program in _of_host(lab, host))


def environment(lab: Lab, host: Host) -> dict[str, str]:
    """What a program on the host has in its environment."""
    config = lab.settings(host)
    return {
        "HECD_CONFIG": str(lab.settings_file(host)),
        **haproxy_environment(config),
        "HECD_NODE": host.name,
        "HECD_KEEPALIVED_CFG": str(_keepalived_config(config)),
        "HECD_KEEPALIVED_PID": str(_keepalived_pid(config)),
        "HECD_VIP": lab.vip,
        "HECD_VIP_INTERFACE": CARD,
    }


def _of_host(lab: Lab, host: Host) -> Iterator[Program]:
    config = lab.settings(host)
    words: dict[str, tuple[str, ...]] = {
        ETCD: etcd_member(lab, host, config.lib / "etcd"),
        CONFD: _confd(lab, config),
        HOLDER: (sys.executable, "-m", "registrator", "holder"),
        HAPROXY: haproxy(config),
        CONTROL: (sys.executable, "-m", "registrator", "control"),
        AGENT: (sys.executable, "-m", "registrator", "agent"),
        KEEPALIVED: _keepalived(config),
    }
    written = {HAPROXY: [haproxy_config(config)], KEEPALIVED: [_keepalived_config(config)]}
    inside = Namespace(lab.namespace(host)).command
    for name in names(lab, host):
        after = [lab.switched_on(host), lab.switched_on(host, name), *written.get(name, [])]
        ended = inside(("ip", "address", "del", f"{lab.vip}/32", "dev", CARD)) if name == KEEPALIVED else ()
        yield Program(f"{host.name}/{name}", inside(words[name]), environment(lab, host), tuple(after), ended)


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


def _keepalived(config: Config) -> tuple[str, ...]:
    """It ends at once where it finds the file of one that was killed."""
    parent, child = _keepalived_pid(config), config.run / "vrrp.pid"
    words = ("keepalived", "-n", "-l", "-P", "-f", str(_keepalived_config(config)), "-p", str(parent), "-r", str(child))
    return ("/bin/sh", "-c", 'rm -f "$1" "$2"; shift 2; exec "$@"', "sh", str(parent), str(child), *words)


def _keepalived_config(config: Config) -> Path:
    return config.run / "keepalived.conf"


def _keepalived_pid(config: Config) -> Path:
    return config.run / "keepalived.pid"


def _confd(lab: Lab, config: Config) -> tuple[str, ...]:
    nodes = (f"-node=http://{endpoint}" for endpoint in lab.endpoints)
    script = Path(sys.executable).with_name("confd-py")
    return (str(script), "-watch", "-backend=etcdv3", *nodes, f"-confdir={config.run / 'confd'}", "-log-level=info")
