"""Docker's firewall drops what it does not know of, where it switched forwarding on. Its chain DOCKER-USER is there for
others to say what passes."""

from __future__ import annotations

import shutil
import subprocess

from runtime.networks.topology import Bridge

CHAIN = "DOCKER-USER"
PROGRAMS = ("iptables", "ip6tables")


def let_through(bridge: Bridge) -> None:
    """Have what comes from and goes to our bridge pass. Fine if it does, and where there is no such chain."""
    for program in PROGRAMS if bridge.subnet6 else PROGRAMS[:1]:
        for rule in _rules(bridge.name):
            if not _done(program, "-C", *rule):
                _done(program, "-I", *rule)


def forget(bridge: Bridge) -> None:
    """Take that back; fine if it is not there."""
    for program in PROGRAMS:
        for rule in _rules(bridge.name):
            _done(program, "-D", *rule)


def _rules(bridge: str) -> list[list[str]]:
    return [[CHAIN, end, bridge, "-j", "ACCEPT"] for end in ("-i", "-o")]


def _done(program: str, *words: str) -> bool:
    found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin")
    if found is None:
        return False  # then Docker has no firewall
    return subprocess.run([found, "-w", *words], check=False, capture_output=True).returncode == 0
