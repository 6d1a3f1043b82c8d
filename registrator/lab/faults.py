"""What can befall a host of the lab, and how it is healed.

killed   as by its power switch: nothing of it is left but its disk; or one program, which stays dead
frozen   its processes stand still, its kernel goes on answering; or one program
cut      its cable is pulled; or it and some other hosts do not hear each other any more
slow     its cable lets little through
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from registrator.errors import HecdError, NotFound
from registrator.lab import power, processes, wires
from registrator.lab.plan import Host, Lab
from registrator.lab.programs import names

SLOW_KBIT_PER_S = 1000


def faults(lab: Lab, host: Host) -> dict[str, str]:
    """What befell the host: fault -> details, in words."""
    try:
        found: dict[str, str] = json.loads(_file(lab, host).read_text())
    except (FileNotFoundError, ValueError):
        found = {}
    off = [name for name in names(lab, host) if not lab.switched_on(host, name).exists()]
    if not lab.switched_on(host).exists():
        return {"killed": ""}
    return found | ({"killed": ", ".join(off)} if off else {})


def kill(lab: Lab, host: Host, program: str | None = None) -> None:
    """SIGKILL to the program, which stays dead; or to all at once, with the cable out. Raises NotFound."""
    if program is None:
        power.switch_off(lab, host)
        _file(lab, host).unlink(missing_ok=True)
        return
    _check(lab, host, program)
    lab.switched_on(host, program).unlink(missing_ok=True)
    processes.kill(lambda: _of_program(lab, host, program))


def freeze(lab: Lab, host: Host, program: str | None = None) -> None:
    """The host, or one program of it, stands still. Raises NotFound."""
    if program is not None:
        _check(lab, host, program)
    processes.stop(lambda: power.within(lab, host) if program is None else _of_program(lab, host, program))
    _note(lab, host, "frozen", program or "")


def cut(lab: Lab, host: Host, others: Sequence[Host] = ()) -> None:
    """Pull its cable; with `others`, only these and it do not hear each other."""
    _check_on(lab, host, *others)
    if not others:
        wires.set_plugged(lab, host, plugged=False)
    for other in others:
        if other != host:
            wires.part(lab, host, other)
    _note(lab, host, "cut", f"from {', '.join(other.name for other in others)}" if others else "")


def slow(lab: Lab, host: Host, kbit_per_s: int = SLOW_KBIT_PER_S) -> None:
    """Let no more than this through its cable, each way."""
    _check_on(lab, host)
    wires.set_rate(lab, host, kbit_per_s)
    _note(lab, host, "slow", f"{kbit_per_s} kbit/s")


def heal(lab: Lab, host: Host) -> None:
    """Take back whatever befell the host. Fine if nothing did."""
    if not lab.switched_on(host).exists():
        power.erase_running(lab, host)
        power.switch_on(lab, host)
    for name in names(lab, host):
        lab.switched_on(host, name).touch()
    wires.set_plugged(lab, host, plugged=True)
    known = faults(lab, host)
    if "slow" in known:
        wires.set_rate(lab, host, None)
    for other in lab.hosts:
        if other != host and ("cut" in known or "cut" in faults(lab, other)):
            wires.rejoin(lab, host, other)
    if "frozen" in known:
        processes.resume(lambda: power.within(lab, host))
    _file(lab, host).unlink(missing_ok=True)


def _of_program(lab: Lab, host: Host, program: str) -> set[int]:
    word = {
        "control": "registrator control",
        "agent": "registrator agent",
        "holder": "registrator holder",
        "confd-py": "confd-py",
        "keepalived": "keepalived -n",
    }.get(program, f"{program} ")
    return processes.named(power.within(lab, host), word)


def _note(lab: Lab, host: Host, fault: str, details: str) -> None:
    known = faults(lab, host)
    known.pop("killed", None)
    _file(lab, host).write_text(json.dumps({**known, fault: details}))


def _file(lab: Lab, host: Host) -> Path:
    return lab.home(host) / "faults.json"


def _check(lab: Lab, host: Host, program: str) -> None:
    if program not in names(lab, host):
        raise NotFound(f"{host.name} runs no {program!r}", hint=f"It runs: {', '.join(names(lab, host))}.")


def _check_on(lab: Lab, *hosts: Host) -> None:
    for host in hosts:
        if not lab.switched_on(host).exists():
            raise HecdError(f"{host.name} is switched off", hint=f"hecd lab heal {host.name}")
