"""What is wrong with a compose file: every fault at once, each with its path and line."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.errors import HecdError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One fault. `path` () is the file as a whole; `line` counts from 1, 0 is unknown."""

    path: Path
    text: str
    line: int = 0

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line else []
        where += [dotted(self.path)] if self.path else []
        return ": ".join([*where, self.text])


class SpecError(HecdError):
    """A compose file that can't be served as it is; `faults` has all that is wrong, in the order of its lines."""

    def __init__(self, source: str, faults: tuple[Fault, ...]) -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(
            f"{source}: {count}",
            details=tuple(str(fault) for fault in faults),
            hint="docs/compose.md lists what hecd serves of Compose. Nothing was changed.",
        )
        self.faults = faults


def dotted(path: Path) -> str:
    """`services.web.ports[0]`; a key that would look odd is quoted, so that it can't forge a line."""
    parts = [f"[{p}]" if isinstance(p, int) else f".{p if _plain(p) else repr(p)}" for p in path]
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """A value in a message: quoted, on one line, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(key: str) -> bool:
    return key != "" and len(key) <= 80 and key.isprintable() and not any(c in key for c in " .[]'\"")
