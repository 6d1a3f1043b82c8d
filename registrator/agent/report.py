"""An edge's report in etcd, and how much of it is written when.

A small report is one record. A large one has a record for each backend beside it, so that one server that changes does
not write thousands again. Figures alone are written once a second, and the less often the more of them there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from registrator.model.names import NodeName, service_of
from registrator.model.node import Edge, EdgePart
from registrator.registry import schema
from registrator.registry.store import Store, Write, portions
from registrator.registry.world import World

Trial = tuple[str, str]  # service, release

CALM_S = 1.0  # between reports of figures alone, at least
FIGURES_BYTES_PER_S = 64 << 10
WHOLE_BYTES = 32 << 10


@dataclass
class EdgeRecord:
    """What one edge said last, and under which lease."""

    store: Store
    node: NodeName
    _said: Edge | None = None
    _lease: int = 0
    _size_bytes: int = 0
    _in_parts: bool = False

    async def say(self, edge: Edge, lease: int, now: float, on_trial: Collection[Trial], world: World) -> None:
        """Write what is new in `edge`, if it is time to. `now` is seconds since the epoch. Raises HecdError."""
        said = self._said if lease == self._lease else None
        if said is not None:
            news = [b for b in {*said.servers, *edge.servers, *edge.usage} if not _same(said, edge, b, on_trial)]
            if now - said.at < calm_s(self._size_bytes):
                if not news and _urgent(said) == _urgent(edge):
                    return
                edge = _but_for_figures(said, edge, news) if self._in_parts else edge
            elif not news and _all_of(said) == _all_of(edge):
                return
        edge, self._lease = replace(edge, at=now), 0  # of what fails it is not known whether it was written
        await self._write(edge, said, lease, world)
        self._said, self._lease = edge, lease

    async def _write(self, edge: Edge, said: Edge | None, lease: int, world: World) -> None:
        """Once in parts it stays so, as what is left of them would be taken for true."""
        whole = schema.put(edge, lease)
        there = {backend for node, backend in world.servers if node == self.node}
        self._size_bytes = len(whole.value)
        if not (self._in_parts or there) and self._size_bytes <= WHOLE_BYTES:
            await self.store.commit([whole])
            return
        before = _parts(said) if said is not None and self._in_parts else {}
        self._in_parts = True
        for writes in _transactions(edge, before, {*there, *before}, lease):
            await self.store.commit(writes)


def calm_s(size_bytes: int) -> float:
    """How long figures alone wait when all that is said takes so much."""
    return max(CALM_S, size_bytes / FIGURES_BYTES_PER_S)


def _transactions(edge: Edge, before: dict[str, EdgePart], there: Iterable[str], lease: int) -> list[Sequence[Write]]:
    """What makes `edge` of the parts `before`. Its own record is the last: until then, nobody takes its word for more
    than it said before."""
    now = _parts(edge)
    writes: list[Write] = [schema.delete(EdgePart(edge.node, backend)) for backend in there if backend not in now]
    writes += [schema.put(part, lease) for backend, part in now.items() if before.get(backend) != part]
    writes.append(schema.put(replace(edge, servers={}, usage={}), lease))
    return portions(writes)


def _parts(edge: Edge) -> dict[str, EdgePart]:
    backends = dict.fromkeys((*edge.servers, *edge.usage))
    return {b: EdgePart(edge.node, b, edge.servers.get(b, {}), edge.usage.get(b, {})) for b in backends}


def _but_for_figures(said: Edge, edge: Edge, news: Collection[str]) -> Edge:
    """`edge` as it was said in all backends that are not among `news`."""
    return replace(
        edge,
        servers={b: servers if b in news else said.servers.get(b, servers) for b, servers in edge.servers.items()},
        usage={b: usage if b in news else said.usage.get(b, usage) for b, usage in edge.usage.items()},
    )


def _same(said: Edge, edge: Edge, backend: str, on_trial: Collection[Trial]) -> bool:
    """Whether nothing of one backend has changed that cannot wait."""
    if (backend in said.servers) != (backend in edge.servers):
        return False
    return (_states(said, backend), _failed(said, backend, on_trial)) == (
        _states(edge, backend),
        _failed(edge, backend, on_trial),
    )


def _urgent(edge: Edge) -> tuple[object, ...]:
    return edge.applied_revision, edge.error, edge.doubt, edge.reloads, edge.certificates


def _all_of(edge: Edge) -> tuple[object, ...]:
    return _urgent(edge), edge.usage, edge.servers


def _failed(edge: Edge, backend: str, on_trial: Collection[Trial]) -> int:
    return sum(
        usage.total.failed
        for release, usage in edge.usage.get(backend, {}).items()
        if (service_of(backend), release) in on_trial
    )


def _states(edge: Edge, backend: str) -> dict[str, tuple[str, int, bool]]:
    """Of each server what others wait for: its state, its weight, and while it drains whether it is idle."""
    servers = edge.servers.get(backend, {})
    return {name: (r.state, r.weight, r.open or r.sessions == 0) for name, r in servers.items()}
