"""Where every record lives in etcd. The only file that knows a key; docs/keys.md explains them to users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registrator.model.claim import Claim
from registrator.model.deed import Deed
from registrator.model.demotion import Demotion
from registrator.model.hold import Hold
from registrator.model.hook import Result, Run
from registrator.model.instance import Assignment, Instance
from registrator.model.ledger import Ledger
from registrator.model.lock import Lock
from registrator.model.node import Edge, EdgePart, Node
from registrator.model.outcome import Outcome
from registrator.model.placement import Availability
from registrator.model.release import Release
from registrator.model.rollout import Rollout
from registrator.model.service import Service
from registrator.model.steering import Steering
from registrator.registry.codec import encode
from registrator.registry.store import Delete, Put

ROOT = "/hecd/"
LEADER = "/hecd/control/leader"
LEDGER = "/hecd/control/ledger"

Record = (
    Node
    | Service
    | Release
    | Assignment
    | Instance
    | Edge
    | EdgePart
    | Claim
    | Rollout
    | Ledger
    | Availability
    | Demotion
    | Outcome
    | Steering
    | Lock
    | Deed
    | Hold
    | Run
    | Result
)


@dataclass(frozen=True)
class Room:
    """One kind of record: the first word of its keys, its class, how many words follow."""

    word: str
    record: type[Any]
    depth: int


ROOMS = (
    Room("nodes", Node, 1),
    Room("services", Service, 1),
    Room("releases", Release, 2),
    Room("assignments", Assignment, 2),
    Room("instances", Instance, 2),
    Room("edges", Edge, 1),
    Room("servers", EdgePart, 2),
    Room("claims", Claim, 1),
    Room("rollouts", Rollout, 1),
    Room("availability", Availability, 1),
    Room("demotions", Demotion, 1),
    Room("history", Outcome, 2),
    Room("steering", Steering, 1),
    Room("locks", Lock, 1),
    Room("audit", Deed, 1),
    Room("holds", Hold, 2),
    Room("runs", Run, 2),
    Room("results", Result, 2),
)


def key_of(record: Record) -> str:
    """The key under which `record` is kept."""
    match record:
        case Node():
            return f"{ROOT}nodes/{record.node}"
        case Service():
            return f"{ROOT}services/{record.service}"
        case Release():
            return f"{ROOT}releases/{record.service}/{record.number}"
        case Assignment():
            return f"{ROOT}assignments/{record.node}/{record.instance}"
        case Instance():
            return f"{ROOT}instances/{record.service}/{record.instance}"
        case Edge():
            return f"{ROOT}edges/{record.node}"
        case EdgePart():
            return f"{ROOT}servers/{record.node}/{record.backend}"
        case Claim():
            return f"{ROOT}claims/{record.subnet.replace('/', '-')}"
        case Rollout():
            return f"{ROOT}rollouts/{record.service}"
        case Availability():
            return f"{ROOT}availability/{record.node}"
        case Demotion():
            return f"{ROOT}demotions/{record.node}"
        case Outcome():
            return f"{ROOT}history/{record.service}/{record.release}"
        case Steering():
            return f"{ROOT}steering/{record.service}"
        case Lock():
            return f"{ROOT}locks/{record.service}"
        case Deed():
            return f"{ROOT}audit/{record.id}"
        case Hold():
            return f"{ROOT}holds/{record.service}/{record.owner}"
        case Run():
            return f"{ROOT}runs/{record.service}/{record.run}"
        case Result():
            return f"{ROOT}results/{record.service}/{record.run}"
        case Ledger():
            return LEDGER


def put(record: Record, lease: int = 0) -> Put:
    """The write that stores `record`, under `lease` if one is given."""
    return Put(key_of(record), encode(record), lease)


def delete(record: Record) -> Delete:
    """The write that removes `record`."""
    return Delete(key_of(record))


def room_of(key: str) -> tuple[Room, tuple[str, ...]] | None:
    """The room of a key and the words after it; None for a key that is no record of ours."""
    if not key.startswith(ROOT):
        return None
    word, *rest = key[len(ROOT) :].split("/")
    for room in ROOMS:
        if room.word == word and len(rest) == room.depth:
            return room, tuple(rest)
    return None
