"""Identifiers, and the one rule for what may be a name.

A name ends up in keys, host names and haproxy.cfg, so it must be a DNS label (RFC 1123) when it enters.
"""

from __future__ import annotations

import re
from typing import NewType

NodeName = NewType("NodeName", str)
ServiceName = NewType("ServiceName", str)
InstanceName = NewType("InstanceName", str)
ReleaseNumber = NewType("ReleaseNumber", int)

LONGEST_SERVICE = 52  # with a dot and ten digits, an instance's name is still a host name's label
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def is_label(text: str) -> bool:
    """Whether `text` is a lower-case DNS label of at most 63 characters."""
    return _LABEL.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    """Whether `text` can name a service: a label that leaves room for the number of an instance."""
    return is_label(text) and len(text) <= LONGEST_SERVICE


def instance_name(service: ServiceName, number: int) -> InstanceName:
    """`web.7`: the number is never used twice by one service."""
    return InstanceName(f"{service}.{number}")


def instance_number(name: str) -> int:
    """The 7 of `web.7`; 0 where the name has none."""
    tail = name.rpartition(".")[2]
    return int(tail) if tail.isdigit() else 0


def backend_name(service: str, target_port: int) -> str:
    """HAProxy's backend for one port of a service; templates/haproxy writes the same."""
    return f"{service}.{target_port}"


def service_of(backend: str) -> str:
    """The service of such a backend."""
    return backend.rpartition(".")[0]
