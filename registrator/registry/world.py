"""The world: every record of one snapshot, decoded. Only what changed since the last one is decoded again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from registrator.model.claim import Claim
from registrator.model.deed import Deed
from registrator.model.hold import Hold
from registrator.model.hook import Result, Run
from registrator.model.instance import Assignment, Instance
from registrator.model.ledger import Ledger
from registrator.model.lock import Lock
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node
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
    edges: Mapping[NodeName, Edge] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    rollouts: Mapping[ServiceName, Rollout] = field(default_factory=dict)
    availability: Mapping[NodeName, Availability] = field(default_factory=dict)
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

    def of_service(self, service: ServiceName) -> Iterator[Instance]:
        """The instances of one service that agents run. Those of others serve, too, but take no orders."""
        return (i for i in self.instances.values() if i.service == service and not i.foreign)

    def assigned(self, service: ServiceName) -> Iterator[Assignment]:
        """The assignments of one service."""
        return (a for a in self.assignments.values() if a.service == service)

    def runs_of(self, service: ServiceName) -> Mapping[str, Run]:
        """The runs of hooks of one service."""
        return self._runs.get(service, {})

    @cached_property
    def _runs(self) -> Mapping[ServiceName, Mapping[str, Run]]:
        found: dict[ServiceName, dict[str, Run]] = {}
        for name, run in self.runs.items():
            found.setdefault(run.service, {})[name] = run
        return found


class Reader:
    """Turns snapshots into worlds and remembers what it decoded."""

    def __init__(self) -> None:
        self._decoded: dict[str, tuple[int, int, Any]] = {}
        self._faults: dict[str, str] = {}

    def read(self, snapshot: Snapshot) -> World:
        """The world at `snapshot`. A record that can't be read is left out and named in `faults`."""
        rooms: dict[str, dict[Any, Any]] = {room.word: {} for room in schema.ROOMS}
        seen: dict[str, tuple[int, int, Any]] = {}
        for key, raw in snapshot.entries.items():
            if (place := schema.room_of(key)) is None:
                continue
            room, words = place
            seen[key] = known = self._known(key, raw, room.record, snapshot.epoch)
            if known[2] is not None:
                rooms[room.word][_index(room.word, words)] = known[2]
        self._decoded = seen
        self._faults = {key: fault for key, fault in self._faults.items() if key in seen}
        return World(
            epoch=snapshot.epoch,
            revision=snapshot.revision,
            cluster_id=snapshot.cluster_id,
            ledger=self._single(snapshot, schema.LEDGER),
            leader=_text(snapshot.entries.get(schema.LEADER)),
            revisions={key: known[1] for key, known in seen.items()},
            leases={key: raw.lease for key, raw in snapshot.entries.items() if raw.lease},
            faults=dict(self._faults),
            **rooms,
        )

    def _known(self, key: str, raw: Raw, record: type[Any], epoch: int) -> tuple[int, int, Any]:
        before = self._decoded.get(key)
        if before is not None and before[:2] == (epoch, raw.revision):
            return before
        self._faults.pop(key, None)
        try:
            value = decode(record, raw.value)
            if schema.key_of(value) != key:
                raise CodecFault(f"it says of itself that it is {schema.key_of(value)}")
        except CodecFault as err:
            self._faults[key] = str(err)
            log.warning("record passed over key=%s fault=%s", key, err)
            value = None
        return epoch, raw.revision, value

    def _single(self, snapshot: Snapshot, key: str) -> Ledger | None:
        raw = snapshot.entries.get(key)
        try:
            return decode(Ledger, raw.value) if raw else None
        except CodecFault as err:
            self._faults[key] = str(err)
            return None


def _index(word: str, words: tuple[str, ...]) -> Any:
    if word in ("releases", "history"):
        return words[0], int(words[1]) if words[1].isdigit() else -1
    if word in ("assignments", "holds"):
        return words
    return words[-1]


def _text(raw: Raw | None) -> str | None:
    return raw.value.decode(errors="replace") if raw else None
