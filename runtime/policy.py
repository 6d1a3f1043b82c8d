"""/etc/hecd/runtime.toml: what containers of this host may be given at most, and whether they have IPv6."""

from __future__ import annotations

import fnmatch
import ipaddress
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from runtime.errors import InvalidSettings

FILE = Path("/etc/hecd/runtime.toml")


@dataclass(frozen=True)
class Policy:
    """`privileged`: whether a container may be given all the power that root has here. `devices`: which devices, as
    patterns such as /dev/dri/*; whoever may use a disk has all that is on it. `seccomp`: which profiles that let more
    system calls through than the default does, as patterns of their paths, or "unconfined". `userns_remap`: the name
    or the range whose ids containers have, "": the host's own; `userns_host`: whether one may ask for these.
    `ipv6_subnet` is that of the usual root; "": its containers have IPv4 only."""

    privileged: bool = False
    devices: tuple[str, ...] = ()
    seccomp: tuple[str, ...] = ()
    userns_remap: str = ""
    userns_host: bool = False
    ipv6_subnet: str = ""

    def allows(self, device: str) -> bool:
        """Whether a container may use the device at this path."""
        return self.privileged or any(fnmatch.fnmatchcase(device, pattern) for pattern in self.devices)

    def allows_profile(self, profile: str) -> bool:
        """Whether a container may have this profile, though it is wider than the default."""
        return self.privileged or any(fnmatch.fnmatchcase(profile, pattern) for pattern in self.seccomp)


def read(path: Path) -> Policy:
    """The policy, the defaults where there is no such file. Raises InvalidSettings with every fault."""
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Policy()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InvalidSettings(path, (f"it is no TOML: {err}",)) from err
    known = {f.name for f in fields(Policy)}
    faults = [f"unknown setting {key!r}" for key in found if key not in known]
    for key in ("privileged", "userns_host"):
        if not isinstance(found.get(key, False), bool):
            faults.append(f"{key} must be true or false")
    if not isinstance(found.get("userns_remap", ""), str):
        faults.append('userns_remap must be a name, "default", or "START:SIZE"')
    devices = found.get("devices", [])
    if not isinstance(devices, list) or not all(isinstance(d, str) and d.startswith("/dev/") for d in devices):
        faults.append('devices must be a list of paths, such as ["/dev/fuse", "/dev/dri/*"]')
    profiles = found.get("seccomp", [])
    if not isinstance(profiles, list) or not all(p == "unconfined" or str(p).startswith("/") for p in profiles):
        faults.append('seccomp must be a list of paths, such as ["/etc/hecd/seccomp/*.json"], or ["unconfined"]')
    ipv6_subnet = found.get("ipv6_subnet", "")
    if not _is_ipv6_subnet(ipv6_subnet):
        faults.append(f'ipv6_subnet {ipv6_subnet!r} is none: write one of your own, such as "fd00:87::/64"')
    if faults:
        raise InvalidSettings(path, tuple(faults))
    return Policy(**{**found, "devices": tuple(devices), "seccomp": tuple(profiles)})


def _is_ipv6_subnet(value: object) -> bool:
    try:
        return value == "" or (isinstance(value, str) and bool(ipaddress.IPv6Network(value)))
    except ValueError:
        return False
