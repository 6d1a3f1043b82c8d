"""Every error registrator raises on purpose."""

from __future__ import annotations


class HecdError(Exception):
    """Root of registrator's errors.

    `brief` is one line for the user, `details` are further lines, `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.hint = hint


class RegistryUnavailable(HecdError):
    """etcd did not answer; the call may be repeated after `retry_after_s` seconds."""

    exit_code = 3

    def __init__(self, brief: str, *, hint: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(brief, hint=hint or "Start it again, or `hecd up` where it runs one; --etcd names another.")
        self.retry_after_s = retry_after_s


class RegistryRefused(HecdError):
    """etcd answered and refused: wrong password, missing right, bad certificate."""

    exit_code = 3


class Conflict(HecdError):
    """Somebody else changed the same record first."""


class Locked(HecdError):
    """Somebody else alone may change it just now."""


class LeaseLost(HecdError):
    """The lease that a record was to stand under has ended."""


class NotFound(HecdError):
    """A named thing does not exist."""

    exit_code = 4


class EngineFault(HecdError):
    """The container engine, or a registry that it asked, refused or failed. The call may be repeated after
    `retry_after_s` seconds; None: nothing says that it would help."""

    def __init__(
        self, brief: str, *, details: tuple[str, ...] = (), hint: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(brief, details=details, hint=hint)
        self.retry_after_s = retry_after_s


class EngineAway(EngineFault):
    """The container engine does not answer; its containers may run on."""

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str = "", retry_after_s: float) -> None:
        super().__init__(brief, details=details, hint=hint)
        self.retry_after_s: float = retry_after_s


class DockerAway(HecdError):
    """Docker did not answer, or ended what it was saying; it may be back soon."""


class ReleaseFailed(HecdError):
    """A release ended rolled back or stuck; the reason stands in `brief`."""

    exit_code = 5


class AlreadyRunning(HecdError):
    """A second `hecd up` on one root directory."""


class MissingProgram(HecdError):
    """A program that is needed is not installed."""

    exit_code = 6

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not installed", hint=f"Install it: apt-get install {package}")
