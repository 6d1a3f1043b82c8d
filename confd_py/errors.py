"""Every error confd_py raises on purpose."""

from __future__ import annotations


class ConfdError(Exception):
    """Root of confd_py's errors.

    `brief` is one line for the user, `details` are further lines, `hint` says what to do next.
    `retry_after_s` is the shortest wait before the same thing may be tried again.
    """

    exit_code = 1
    retry_after_s = 0.5

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.hint = hint


class UsageError(ConfdError):
    """The command line cannot be understood."""

    exit_code = 2


class ConfigFault(ConfdError):
    """confd.toml, an environment variable or a flag holds a value that cannot be used."""


class ResourceFault(ConfdError):
    """A file in conf.d is not a template resource."""

    def __init__(self, path: str, fault: str, *, line: int = 0, column: int = 0, hint: str = "") -> None:
        place = ":".join(str(part) for part in (path, line, column) if part)
        super().__init__(f"{place}: {fault}", hint=hint or "docs/confd.md lists the keys of a template resource.")
        self.path = path


class TemplateFault(ConfdError):
    """A template cannot be compiled, or failed with the keys it was given."""


class UnsafeValue(ConfdError):
    """A value would have changed the meaning of the file it was written into."""

    def __init__(self, value: str, target: str) -> None:
        self.value = value
        shown = value if len(value) <= 60 else value[:57] + "..."
        super().__init__(
            f"the value {shown!r} cannot stand as a word of a {target} file",
            hint="Correct the value in the store; the last good file stays in place until then.",
        )


class StoreUnavailable(ConfdError):
    """The key-value store did not answer; it is asked again."""


class StoreRefused(ConfdError):
    """The key-value store answered and refused: wrong password, missing right, bad certificate."""


class WriteFailed(ConfdError):
    """The new file could not be written; the old one is still in place."""


class CommandFailed(ConfdError):
    """check_cmd or reload_cmd failed or took too long; `details` holds the end of its output."""


class Away(ConfdError):
    """The program does not run. The file is in place; it is in effect as soon as the program runs."""

    retry_after_s = 0.1


class HaproxyAway(Away):
    """No HAProxy answers on its socket."""


class HaproxyRefused(ConfdError):
    """HAProxy did not take a configuration or a command; `details` holds its own words."""


class NginxAway(Away):
    """No master process of nginx runs."""


class NginxRefused(ConfdError):
    """nginx did not take a configuration; `details` holds its own words."""


class Deferred(ConfdError):
    """It is too early: the last reload was less than min_reload_interval ago, or reloads come in a storm."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"the next reload may come in {wait_s:.1f} s")
        self.retry_after_s = wait_s
