"""What a container says of itself: SERVICE_* in its environment and its labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registrator.announce.container import Container

PREFIX = "SERVICE_"


@dataclass(frozen=True)
class Metadata:
    """Values by lower-cased name without the prefix, and the names that were said for just this port."""

    values: dict[str, str]
    of_port: frozenset[str]

    def get(self, name: str) -> str:
        """The value; "" where nothing was said."""
        return self.values.get(name, "")


def about(container: Container, port: str) -> Metadata:
    """What holds for `port`. Labels come after the environment and win; SERVICE_<port>_X wins over SERVICE_X."""
    values: dict[str, str] = {}
    of_port: set[str] = set()
    for name, value in _said(container):
        number, _, rest = name.partition("_")
        if _is_number(number) and "_" in name:
            if number == port:
                values[rest] = value
                of_port.add(rest)
        elif name not in of_port:
            values[name] = value
    return Metadata(values, frozenset(of_port))


def _said(container: Container) -> Iterable[tuple[str, str]]:
    pairs = [line.partition("=") for line in container.environment if "=" in line]
    pairs += [(name, "=", container.labels[name]) for name in sorted(container.labels)]
    return ((name.removeprefix(PREFIX).lower(), value) for name, _, value in pairs if name.startswith(PREFIX))


def _is_number(text: str) -> bool:
    """Whether Go's strconv.Atoi takes it."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits.isascii() and digits.isdigit()
