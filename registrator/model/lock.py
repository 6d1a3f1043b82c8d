"""A lock: who alone may change the releases of a service, and why."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import ServiceName


@dataclass(frozen=True)
class Lock:
    """`/hecd/locks/<service>`. It ends with its deployer's lease; a `lasting` one stays until `hecd unlock`."""

    service: ServiceName
    holder: str  # user@host
    since: float  # seconds since the epoch
    message: str = ""
    lasting: bool = False
