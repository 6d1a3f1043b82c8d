"""The encrypted tunnel end: a WireGuard link of the kernel, or of a program in its place, and what it has to know.

wg(8) speaks alike to both.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from runtime.errors import KernelRefused, MissingProgram, NoWireguard
from runtime.networks import cryptokey
from runtime.networks.cryptokey import Settings
from runtime.networks.kernel import has_link, leave_without_ipv6, netlink
from runtime.state import write_whole

USERSPACE = "wireguard-go"
_KINDS = ("wireguard", "tun")
_UNSUPPORTED, _EXISTS, _UP = 95, 17, 0x1
_WITHIN_S = 10.0


def private_key(file: Path) -> str:
    """The key of this host, made at first; only root may read the file. Raises MissingProgram, KernelRefused."""
    if not file.exists():
        write_whole(file, f"{_wg('genkey').strip()}\n".encode(), mode=0o600)
    return file.read_text().strip()


def public_key(private: str) -> str:
    """What belongs to it, and may be told to all. Raises MissingProgram, KernelRefused."""
    return _wg("pubkey", given=f"{private}\n").strip()


def ensure_tunnel(name: str, wanted: Settings, key_file: Path, mtu: int, owner: str) -> list[str]:
    """Make the link, or accept it; bring it to what it has to know. What was done, in words.

    Peers that stay are not disturbed. Raises MissingProgram, KernelRefused; NoWireguard where nothing can do it.
    """
    done = []
    with netlink(f"make the tunnel end {name}") as ip:
        if not has_link(name):
            _make(ip, name)
            done.append(f"tunnel end {name} made")
        index = socket.if_nametoindex(name)
        link = ip.get_links(index)[0]
        info = link.get("linkinfo")
        if info is None or info.get("kind") not in _KINDS:
            raise KernelRefused(f"the link {name} is no tunnel end", hint=f"Whose is it? Delete it: ip link del {name}")
        if link.get("mtu") != mtu or not link["flags"] & _UP:
            ip.link("set", index=index, mtu=mtu, ifalias=owner, state="up")
            done.append(f"tunnel end up, MTU {mtu}")
    seen = cryptokey.read(_wg("show", name, "dump"))
    if words := cryptokey.orders(wanted, seen, str(key_file)):
        _wg("set", name, *words)
    return done + cryptokey.differences(wanted, seen)


def _make(ip: Any, name: str) -> None:
    try:
        ip.link("add", ifname=name, kind="wireguard")
    except Exception as err:
        code = getattr(err, "code", None)
        if code == _UNSUPPORTED:
            _make_in_userspace(name)
        elif code != _EXISTS:  # else another process was faster
            raise
    leave_without_ipv6(name)


def _make_in_userspace(name: str) -> None:
    """A process that has the link, and ends with it. It returns once the link is there."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LOG_LEVEL": "error"}
    try:
        subprocess.run(
            [USERSPACE, name],
            env=environment,
            check=True,
            timeout=_WITHIN_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise NoWireguard from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
        raise KernelRefused(f"{USERSPACE} could not make {name}", hint="Is /dev/net/tun there? modprobe tun") from err


def _wg(*words: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            ["wg", *words], check=False, input=given, capture_output=True, text=True, timeout=_WITHIN_S
        )
    except FileNotFoundError:
        raise MissingProgram("wg", "wireguard-tools") from None
    if done.returncode:
        told = tuple(done.stderr.strip().splitlines()[:4])
        raise KernelRefused(f"wg {words[0]} failed", details=told, hint="Try it: wg show")
    return done.stdout
