"""Every error etcdkit raises on purpose."""

from __future__ import annotations

import re

_HINT = "Check that etcd runs and that its endpoints are right."
_TLS_HINT = (
    "TLS was not agreed on: check the authority, and whether etcd asks for a certificate (or for no TLS at all)."
)
_TLS_WORDS = re.compile(r"TSI_|SSL_|certificate|[Hh]andshake")  # how gRPC speaks of TLS


class EtcdError(Exception):
    """Root: `brief` is one line, `details` are more, `hint` says what to do.

    `retry_after_s` is 0 where repeating is in vain.
    """

    retry_after_s = 0.0

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.hint = hint


class Unavailable(EtcdError):
    """No member answered in time. A write may or may not have happened: `ambiguous` tells."""

    retry_after_s = 1.0

    def __init__(self, brief: str, *, ambiguous: bool = False) -> None:
        super().__init__(brief, hint=_TLS_HINT if _TLS_WORDS.search(brief) else _HINT)
        self.ambiguous = ambiguous


class Unauthorized(EtcdError):
    """The user, the password, a right or a certificate was refused."""


class Compacted(EtcdError):
    """The history asked for is gone; the oldest revision there is stands in `revision`."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"history before revision {revision} is compacted")
        self.revision = revision


class HistoryBroke(EtcdError):
    """etcd's data was replaced by other or older data: what was read before says nothing of what is there now."""

    def __init__(self, brief: str) -> None:
        super().__init__(brief, hint="Read everything again.")


class LeaseGone(EtcdError):
    """The lease has ended or was revoked."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease:x} is gone")


class Refused(EtcdError):
    """etcd says that the request is wrong."""
