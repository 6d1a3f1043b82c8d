"""A host of the lab switched on and off, as by its power switch: off, only its disk is left."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from registrator.agent.drivers.runtime import traces
from registrator.config import Config
from registrator.errors import HecdError
from registrator.lab import processes, wires
from registrator.lab.namespace import Namespace, unmount
from registrator.lab.plan import Host, Lab, settings_text
from registrator.lab.programs import names
from registrator.up.machine import write_confdir
from registrator.up.programs import haproxy_run

WITHIN_S = 5.0


def switch_on(lab: Lab, host: Host) -> None:
    """Give it a network and what its programs need to start; the keeper starts them."""
    config = lab.settings(host)
    for path in (config.lib, config.run, haproxy_run(config), lab.switched_on(host).parent):
        path.mkdir(parents=True, exist_ok=True)
    lab.settings_file(host).write_text(settings_text(config))
    write_confdir(config, "haproxy", *(["keepalived"] if lab.vip else []))
    wires.lay_cable(lab, host)
    for name in (*names(lab, host), "host"):
        lab.switched_on(host, name).touch()


def switch_off(lab: Lab, host: Host) -> None:
    """Everything in it ends at once, and nobody hears a word of it. Fine if it is off. Raises HecdError."""
    lab.switched_on(host).unlink(missing_ok=True)
    if Namespace(lab.namespace(host)).exists:
        wires.set_plugged(lab, host, plugged=False)
    erase_running(lab, host)


def erase_running(lab: Lab, host: Host) -> None:
    """What a power cut takes away: processes, mounts, control groups, namespaces, everything below `run`."""
    config = lab.settings(host)
    processes.kill(lambda: within(lab, host))
    _, group = traces(config.lib, config.run)
    for mount in reversed(mounts_below(lab.home(host))):
        unmount(Path(mount))
    Namespace(lab.namespace(host)).drop()
    _drop_groups(group)
    shutil.rmtree(config.run, ignore_errors=True)


def within(lab: Lab, host: Host) -> set[int]:
    """The processes of the host, its containers' too."""
    config: Config = lab.settings(host)
    pins, group = traces(config.lib, config.run)
    return processes.inside([lab.namespace(host), *pins], group)


def mounts_below(folder: Path) -> list[str]:
    """What is mounted below `folder`, in the order of mounting."""
    words = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    found = (word.encode().decode("unicode_escape") for word in words)
    return [path for path in found if path.startswith(f"{folder}/")]


def _drop_groups(prefix: str) -> None:
    """The kernel lets a group go only some time after its last process."""
    deadline = time.monotonic() + WITHIN_S
    while found := processes.groups(prefix):
        for group in sorted(found, reverse=True):
            with suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            raise HecdError("control groups stay", details=tuple(map(str, processes.groups(prefix)[:4])))
        time.sleep(0.005)
