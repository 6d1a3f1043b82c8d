"""The world: every record of one snapshot, decoded. What did not change since the last one is not touched again: it is
the same object in both, so that whoever kept something of the last world sees by that whether it still holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from registrator.model.claim import Claim
from registrator.model.deed import Deed
from registrator.model.demotion import Demotion
from registrator.model.hold import Hold
from registrator.model.hook import Result, Run
from registrator.model.instance import Assignment, Instance
from registrator.model.ledger import Ledger
from registrator.model.lock import Lock
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, EdgePart, Node
from registrator.model.outcome import Outcome
from registrator.model.placement import Availability
from registrator.model.release import Release
from registrator.model.rollout import Rollout
from registrator.model.service import Service
from registrator.model.steering import Steering
from registrator.registry import schema
from registrator.registry.codec import CodecFault, decode
from registrator.registry.store import Raw, Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """What there is of one service, apart from what is wanted."""

    instances: Mapping[InstanceName, Instance] = field(default_factory=dict)
    assignments: Mapping[tuple[NodeName, InstanceName], Assignment] = field(default_factory=dict)


NOTHING = Part()


@dataclass(frozen=True)
class World:
    """What is wanted and what is seen, at one revision. `faults` are records that could not be read."""

    epoch: int = 0
    revision: int = 0
    cluster_id: int = 0
    nodes: Mapping[NodeName, Node] = field(default_factory=dict)
    services: Mapping[ServiceName, Service] = field(default_factory=dict)
    releases: Mapping[tuple[ServiceName, ReleaseNumber], Release] = field(default_factory=dict)
    assignments: Mapping[tuple[NodeName, InstanceName], Assignment] = field(default_factory=dict)
    instances: Mapping[InstanceName, Instance] = field(default_factory=dict)
    edges: Mapping[NodeName, Edge] = field(default_factory=dict)  # whole, whether or not they are written in parts
    servers: Mapping[tuple[NodeName, str], EdgePart] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    rollouts: Mapping[ServiceName, Rollout] = field(default_factory=dict)
    availability: Mapping[NodeName, Availability] = field(default_factory=dict)
    demotions: Mapping[NodeName, Demotion] = field(default_factory=dict)
    history: Mapping[tuple[ServiceName, ReleaseNumber], Outcome] = field(default_factory=dict)
    steering: Mapping[ServiceName, Steering] = field(default_factory=dict)
    locks: Mapping[ServiceName, Lock] = field(default_factory=dict)
    audit: Mapping[str, Deed] = field(default_factory=dict)
    holds: Mapping[tuple[ServiceName, str], Hold] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)  # by the name of the run, as the next one
    results: Mapping[str, Result] = field(default_factory=dict)
    ledger: Ledger | None = None
    leader: str | None = None
    revisions: Mapping[str, int] = field(default_factory=dict)  # key -> revision of its last change
    leases: Mapping[str, int] = field(default_factory=dict)  # key -> the lease it stands under
    faults: Mapping[str, str] = field(default_factory=dict)  # key -> what is wrong

    @cached_property
    def parts(self) -> Mapping[ServiceName, Part]:
        """What there is of each service; of one that did not change, the same object as in the world before.

        A Reader knows it; of a world that was made otherwise it is worked out when it is asked for.
        """
        found: dict[ServiceName, Part] = {}
        for name, instance in self.instances.items():
            part = found.setdefault(instance.service, Part({}, {}))
            cast("dict[Any, Any]", part.instances)[name] = instance
        for index, order in self.assignments.items():
            part = found.setdefault(order.service, Part({}, {}))
            cast("dict[Any, Any]", part.assignments)[index] = order
        return found

    def of_service(self, service: ServiceName) -> Iterator[Instance]:
        """The instances of one service that agents run. Those of others serve, too, but take no orders."""
        return (i for i in self.part(service).instances.values() if not i.foreign)

    def assigned(self, service: ServiceName) -> Iterator[Assignment]:
        """The assignments of one service."""
        return iter(self.part(service).assignments.values())

    def part(self, service: ServiceName) -> Part:
        """What there is of one service."""
        return self.parts.get(service, NOTHING)

    def runs_of(self, service: ServiceName) -> Mapping[str, Run]:
        """The runs of hooks of one service."""
        return self._runs.get(service, {})

    @cached_property
    def _runs(self) -> Mapping[ServiceName, Mapping[str, Run]]:
        found: dict[ServiceName, dict[str, Run]] = {}
        for name, run in self.runs.items():
            found.setdefault(run.service, {})[name] = run
        return found


_EMPTY = World()


class Reader:
    """Turns snapshots into worlds and remembers the last one."""

    def __init__(self) -> None:
        self._rooms: Mapping[str, Mapping[str, Raw]] = {}
        self._world = _EMPTY
        self._heads: dict[NodeName, Edge] = {}  # what edges say, without their parts

    def read(self, snapshot: Snapshot) -> World:
        """The world at `snapshot`. A record that can't be read is left out and named in `faults`."""
        draft = _Draft(self._world)
        for word in {**self._rooms, **snapshot.rooms}:  # in one order, whatever the hashes of this process
            _compare(self._rooms.get(word, {}), snapshot.rooms.get(word, {}), draft)
        draft.join_parts(self._heads)
        draft.changed |= {
            "epoch": snapshot.epoch, "revision": snapshot.revision, "cluster_id": snapshot.cluster_id
        }  # fmt: skip
        world = replace(self._world, **draft.changed)
        vars(world)["parts"] = draft.parts
        self._rooms, self._world = ({}, _EMPTY) if draft.clash else (snapshot.rooms, world)
        if draft.clash:
            self._heads = {}
        return world


class _Draft:
    """What is to be other than it was: `changed` has copies of just the mappings that are.

    `clash` tells that two keys speak of one instance. Which one is seen is by chance, so all is read anew next time.
    """

    def __init__(self, world: World) -> None:
        self.changed: dict[str, Any] = {}
        self.clash = False
        self.parts = world.parts
        self._world = world
        self._sorted: dict[tuple[str, ServiceName], dict[Any, Any]] = {}
        self._edges: set[NodeName] = set()  # of which something changed

    def put(self, key: str, raw: Raw) -> None:
        """Take in an entry that is new, or another one than it was."""
        if raw.lease != self._world.leases.get(key, 0):
            _set(self._of("leases"), key, raw.lease or None)
        if key in (schema.LEADER, schema.LEDGER):
            self._single(key, raw)
        elif (place := schema.room_of(key)) is not None:
            room, words = place
            self._of("revisions")[key] = raw.revision
            self._set(room.word, key, _index(room.word, words), self._read(key, raw, room.record))

    def drop(self, key: str) -> None:
        """Forget an entry that is gone."""
        for name in ("leases", "revisions", "faults"):
            if key in getattr(self._world, name):
                self._of(name).pop(key, None)
        if key in (schema.LEADER, schema.LEDGER):
            self._single(key, None)
        elif (place := schema.room_of(key)) is not None:
            room, words = place
            self._set(room.word, key, _index(room.word, words), None)

    def join_parts(self, heads: dict[NodeName, Edge]) -> None:
        """Let edges be whole. `heads` are their own records, kept from one world to the next."""
        edges, parts = self._of("edges") if self._edges else {}, self.changed.get("servers", self._world.servers)
        for node in self._edges:
            edge = edges.get(node)
            if edge is None:
                heads.pop(node, None)
                continue
            if edge is not self._world.edges.get(node):
                heads[node] = edge
            head = heads[node]
            mine = [part for (of, _), part in parts.items() if of == node]
            servers = {**head.servers, **{part.backend: part.servers for part in mine}}
            usage = {**head.usage, **{part.backend: part.usage for part in mine if part.usage}}
            edges[node] = replace(head, servers=servers, usage=usage) if mine else head

    def _set(self, word: str, key: str, index: Any, record: Any) -> None:
        room = self._of(word)
        if word in ("edges", "servers"):
            self._edges.add(index if word == "edges" else index[0])
        old = room.get(index)
        if old is not None and word == "instances" and schema.key_of(old) != key:
            self.clash = True
            if record is None:
                return
        _set(room, index, record)
        if word not in ("instances", "assignments"):
            return
        if old is not None and (record is None or old.service != record.service):
            _set(self._part(word, old.service), index, None)
        if record is not None:
            _set(self._part(word, record.service), index, record)

    def _part(self, word: str, service: ServiceName) -> dict[Any, Any]:
        """The records of one service, which may be changed."""
        if (mine := self._sorted.get((word, service))) is None:
            if not self._sorted:
                self.parts = dict(self.parts)
            part = self.parts.get(service, NOTHING)
            mine = self._sorted[word, service] = dict(getattr(part, word))
            cast("dict[Any, Any]", self.parts)[service] = replace(part, **{word: mine})
        return mine

    def _of(self, name: str) -> dict[Any, Any]:
        if name not in self.changed:
            self.changed[name] = dict(getattr(self._world, name))
        found: dict[Any, Any] = self.changed[name]
        return found

    def _read(self, key: str, raw: Raw, record: type[Any]) -> Any:
        if key in self._world.faults:
            self._of("faults").pop(key, None)
        try:
            value = decode(record, raw.value)
            if schema.key_of(value) != key:
                raise CodecFault(f"it says of itself that it is {schema.key_of(value)}")
        except CodecFault as err:
            self._of("faults")[key] = str(err)
            log.warning("record passed over key=%s fault=%s", key, err)
            return None
        return value

    def _single(self, key: str, raw: Raw | None) -> None:
        if key == schema.LEADER:
            self.changed["leader"] = raw.value.decode(errors="replace") if raw else None
            return
        self.changed["ledger"] = None
        if key in self._world.faults:
            self._of("faults").pop(key, None)
        try:
            self.changed["ledger"] = decode(Ledger, raw.value) if raw else None
        except CodecFault as err:
            self._of("faults")[key] = str(err)


def _compare(before: Mapping[str, Raw], raws: Mapping[str, Raw], draft: _Draft) -> None:
    """Note in `draft` what of a room is another than before. The same room costs no look at its records."""
    if before is raws:
        return
    known = before.get
    fresh = [(key, raw) for key, raw in raws.items() if known(key) is not raw]
    if len(before) + sum(key not in before for key, _ in fresh) > len(raws):
        for key in before.keys() - raws.keys():
            draft.drop(key)
    for key, raw in fresh:
        draft.put(key, raw)


def _index(word: str, words: tuple[str, ...]) -> Any:
    if word in ("releases", "history"):
        return words[0], int(words[1]) if words[1].isdigit() else -1
    if word in ("assignments", "holds", "servers"):
        return words
    return words[-1]


def _set(room: dict[Any, Any], index: Any, record: Any) -> None:
    """Put it there, where it was if it was; None takes it away."""
    if record is None:
        room.pop(index, None)
    else:
        room[index] = record
