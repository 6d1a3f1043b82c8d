"""Docker's firewall drops what it does not know of, where it switched forwarding on. Its chain DOCKER-USER is there for
others to say what passes."""

from __future__ import annotations

import shutil
import subprocess

CHAIN = "DOCKER-USER"


def let_through(bridge: str) -> None:
    """Have what comes from and goes to our bridge pass. Fine if it does, and where there is no such chain."""
    for rule in _rules(bridge):
        if not _iptables("-C", *rule):
            _iptables("-I", *rule)


def forget(bridge: str) -> None:
    """Take that back; fine if it is not there."""
    for rule in _rules(bridge):
        _iptables("-D", *rule)


def _rules(bridge: str) -> list[list[str]]:
    return [[CHAIN, end, bridge, "-j", "ACCEPT"] for end in ("-i", "-o")]


def _iptables(*words: str) -> bool:
    program = shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        return False  # then Docker has no firewall
    return subprocess.run([program, "-w", *words], check=False, capture_output=True).returncode == 0
