"""Functions that ask the machine or the network: files, names, addresses, the time."""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path

from confd_py.gotemplate.values import SRV, SRVs, Strings

_SIOCGIFADDR = 0x8915  # Linux: the first IPv4 address of an interface
_DNS_TIMEOUT_S = 5.0


def hostname() -> str:
    """The name the kernel reports."""
    return socket.gethostname()


def file_exists(path: str) -> bool:
    """Whether there is something at `path`; what cannot be looked at counts as there, as in confd."""
    try:
        Path(path).stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return path != ""  # which pathlib takes for the directory we are in


def lookup_ip(name: str) -> Strings:
    """Addresses of a host, sorted; none if it has no name."""
    return _lookup(name, socket.AF_UNSPEC)


def lookup_ipv4(name: str) -> Strings:
    """IPv4 addresses of a host, sorted."""
    return _lookup(name, socket.AF_INET)


def lookup_ipv6(name: str) -> Strings:
    """IPv6 addresses of a host, sorted."""
    return _lookup(name, socket.AF_INET6)


def lookup_srv(service: str, proto: str, name: str) -> SRVs:
    """SRV records of `_service._proto.name`, sorted by target, port, priority and weight; none on failure."""
    import dns.exception  # slow to import, and seldom wanted
    import dns.resolver

    full = f"_{service}._{proto}.{name}" if service or proto else name
    try:
        answer = dns.resolver.resolve(full, "SRV", lifetime=_DNS_TIMEOUT_S)
    except dns.exception.DNSException:
        return SRVs()
    records = [SRV(str(r.target), r.port, r.priority, r.weight) for r in answer]
    return SRVs(sorted(records, key=lambda r: f"{r.Target}{r.Port}{r.Priority}{r.Weight}"))


def lookup_iface_ipv4(interface: str) -> str:
    """The first IPv4 address of a network interface, or nothing."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def lookup_iface_ipv6(interface: str) -> str:
    """The first IPv6 address of a network interface, or nothing."""
    try:
        rows = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:
        return ""
    found = [row[0] for row in rows if row[-1] == interface]
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(found[0])) if found else ""


def _lookup(name: str, family: int) -> Strings:
    try:
        found = socket.getaddrinfo(name, None, family)
    except (OSError, UnicodeError):
        return Strings()
    return Strings(sorted({str(item[4][0]) for item in found}))
