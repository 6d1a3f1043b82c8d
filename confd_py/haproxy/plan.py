"""What has to be done to the running HAProxy so that its servers are those of the file. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from confd_py.haproxy.config import Server
from confd_py.haproxy.state import Seen

Key = tuple[str, str]  # backend, server

# The first check of a server added at run time comes after its `downinter`; it is let in by that check.
ADMISSION_DOWNINTER_MS = 2


@dataclass(frozen=True, slots=True)
class Add:
    """A server that is wanted and not there; `reason` is for the log."""

    key: Key
    server: Server
    reason: str = "wanted"


@dataclass(frozen=True, slots=True)
class Remove:
    """A server that is there and not wanted; with a successor it is put there again under the same name."""

    key: Key
    successor: Server | None
    reason: str


@dataclass(frozen=True, slots=True)
class Admit:
    """A server that waits in drain and that nobody looks after."""

    key: Key
    server: Server
    reason: str = "left in drain"


@dataclass(frozen=True, slots=True)
class Weigh:
    """A server whose weight differs; 0 drains it."""

    key: Key
    weight: int
    reason: str = "weight"


Action = Add | Remove | Admit | Weigh


def plan(
    backend: str, wanted: Mapping[str, Server], seen: Mapping[str, Seen], tended: Collection[Key]
) -> tuple[Action, ...]:
    """Actions for one backend; `tended` are servers being admitted or removed already, and left alone.

    Commands are executed one by one: who gets requests from now on comes before those that get none any more, or for a
    moment nobody would.
    """
    actions: list[Action] = []
    for name, server in wanted.items():
        key = (backend, name)
        if key not in tended:
            actions += _for_wanted(key, server, seen.get(name))
    for name, present in seen.items():
        if name not in wanted and (backend, name) not in tended:
            actions.append(Remove((backend, name), None, "not wanted" if not present.in_maintenance else "left over"))
    return tuple(sorted(actions, key=lambda action: isinstance(action, Weigh) and action.weight == 0))


def _for_wanted(key: Key, server: Server, seen: Seen | None) -> tuple[Action, ...]:
    if seen is None:
        return (Add(key, server),)
    if server.dynamic and not seen.named and seen.address != server.address:
        return (Remove(key, server, f"moved from {seen.address}"),)
    if seen.in_maintenance != server.disabled:
        return (Remove(key, server, "shall stand in maintenance" if server.disabled else "waits in maintenance"),)
    if seen.in_drain:
        return (Admit(key, server),)
    if seen.weight != server.weight:
        return (Weigh(key, server.weight),)
    return ()


def add_command(key: Key, server: Server, *, quick: bool, number: int = 0) -> str:
    """Adds a server; one that is checked and has a weight gets no request before it is admitted.

    `quick` makes its first check come at once. It would also be checked that often when it is down later, so a
    server that stays down is put there again without it. `number` is its id; 0: HAProxy chooses. It is one line,
    because a first check that falls between `add` and leaving maintenance is put off by a whole `inter`.
    """
    name = f"{key[0]}/{key[1]}"
    words = _quick(server.words) if quick and server.checked else server.words
    number_words = ("id", str(number)) if number and "id" not in server.keywords else ()
    whole = (server.address, *words, "weight", str(server.weight), *number_words)
    commands = [f"add server {name} {' '.join(whole)}"]
    if server.dynamic_cookie:  # made at its start for those that are there, and for none that is added
        commands.append(f"enable dynamic-cookie backend {key[0]}")
    if server.disabled:
        return ";".join(commands)  # it comes in maintenance
    if server.checked:
        commands.append(f"enable health {name}")
    return ";".join([*commands, f"set server {name} state {'drain' if needs_admission(server) else 'ready'}"])


def needs_admission(server: Server) -> bool:
    """Whether a good check has to come before the first request."""
    return server.checked and server.weight > 0 and not server.disabled


def _quick(words: tuple[str, ...]) -> tuple[str, ...]:
    kept = list(words)
    if "downinter" in kept:
        at = kept.index("downinter")
        del kept[at : at + 2]
    return (*kept, "downinter", f"{ADMISSION_DOWNINTER_MS}ms")
