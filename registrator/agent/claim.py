"""A subnet of the pool for this node, claimed in etcd once and kept for good."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Collection
from pathlib import Path

from registrator.errors import Conflict, HecdError
from registrator.model.claim import Claim
from registrator.model.names import NodeName
from registrator.registry import schema
from registrator.registry.rooms import Rooms
from registrator.registry.store import Absent, Store
from registrator.registry.world import World

log = logging.getLogger(__name__)

PREFIX_LENGTH = 24
RETRY_S = 1.0


def remembered(file: Path) -> str | None:
    """The subnet this node claimed before; it holds without etcd."""
    try:
        return file.read_text().strip() or None
    except FileNotFoundError:
        return None


async def claim(store: Store, node: NodeName, pool: str, file: Path, others: Collection[str] = ()) -> str:
    """This node's subnet, claimed now if it has none; `others` are addresses that must not lie in a new one. Raises
    HecdError when the pool is used up."""
    claims = Rooms(store, "claims")
    while True:
        world = claims.read()
        subnet = remembered(file) or _own(world, node) or free(pool, _subnets(world), others)
        if _own(world, node) == subnet:
            _remember(file, subnet)
            return subnet
        try:
            record = Claim(subnet, node)
            await store.commit([schema.put(record)], [Absent(schema.key_of(record))])
        except Conflict as err:
            if remembered(file):
                raise HecdError(
                    f"subnet {subnet} of this node is claimed by another one",
                    hint=f"Stop the containers here, delete {file} and start the agent again.",
                ) from err
            await claims.changed()
            continue
        log.info("subnet claimed subnet=%s node=%s", subnet, node)
        _remember(file, subnet)
        return subnet


async def keep(store: Store, node: NodeName, subnet: str) -> None:
    """See to it for ever that the claim stands: an etcd that was wiped would give the subnet to another node."""
    record = Claim(subnet, node)
    key = schema.key_of(record)
    while True:
        snapshot = store.snapshot()
        if snapshot.cluster_id and snapshot.get(key) is None:
            try:
                await store.commit([schema.put(record)], [Absent(key)])
                log.warning("claim vanished, subnet claimed again subnet=%s", subnet)
            except Conflict:
                log.warning("another node claims the subnet that containers here have subnet=%s", subnet)
            except HecdError as err:
                log.warning("subnet not claimed again subnet=%s reason=%s", subnet, err)
                await asyncio.sleep(RETRY_S)
                continue
        await store.changed(snapshot.mark, ("claims",))


def free(pool: str, taken: Collection[str], others: Collection[str] = ()) -> str:
    """The first subnet of `pool` that nobody has, without any of the addresses `others` in it. Raises HecdError."""
    used = {ipaddress.ip_network(f"{address}/{PREFIX_LENGTH}", strict=False) for address in others}
    for subnet in ipaddress.ip_network(pool).subnets(new_prefix=PREFIX_LENGTH):
        if str(subnet) not in taken and subnet not in used:
            return str(subnet)
    brief = f"every /{PREFIX_LENGTH} of {pool} is claimed, or has an address of this machine in it"
    raise HecdError(brief, hint="Set a larger subnet_pool on all nodes.")


def _subnets(world: World) -> list[str]:
    return [claim.subnet for claim in world.claims.values()]


def _own(world: World, node: NodeName) -> str | None:
    return next((c.subnet for c in world.claims.values() if c.node == node), None)


def _remember(file: Path, subnet: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(subnet + "\n")
