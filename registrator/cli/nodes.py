"""hecd drain, cordon, activate, promote, demote; hecd node inspect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from registrator.cli import session
from registrator.cli.numbers import Seconds
from registrator.errors import HecdError, NotFound
from registrator.model.names import NodeName
from registrator.orders import follow, give
from registrator.registry.world import World

EMPTY_WITHIN_S = 300.0
LED_WITHIN_S = 30.0


@click.command()
@click.argument("node")
@click.option("-d", "--detach", is_flag=True, help="Do not wait until the node is empty.")
@click.option("--within", type=Seconds(0), default=EMPTY_WITHIN_S, show_default=True, help="Wait so long, seconds.")
@click.pass_context
def drain(ctx: click.Context, node: str, detach: bool, within: float) -> None:
    """Move everything off NODE, as its services' update_config says, and give it nothing more until `activate`."""
    session.run(_drain(ctx, NodeName(node), None if detach else within))
    click.echo(f"{node}: drained" + (", and being emptied" if detach else " and empty"))


@click.command()
@click.argument("node")
@click.pass_context
def cordon(ctx: click.Context, node: str) -> None:
    """Give NODE nothing more; what it has stays."""
    session.run(_set(ctx, NodeName(node), "cordoned"))
    click.echo(f"{node}: cordoned")


@click.command()
@click.argument("node")
@click.pass_context
def activate(ctx: click.Context, node: str) -> None:
    """Let NODE take instances again. Nothing moves there that runs elsewhere."""
    session.run(_set(ctx, NodeName(node), "active"))
    click.echo(f"{node}: active")


@click.command()
@click.argument("node")
@click.pass_context
def demote(ctx: click.Context, node: str) -> None:
    """Let another node lead than NODE, until `promote`. Its control loop stays, and stands by no more."""
    leader = session.run(_demote(ctx, NodeName(node)))
    click.echo(f"{node}: demoted; {leader} leads")


@click.command()
@click.argument("node")
@click.pass_context
def promote(ctx: click.Context, node: str) -> None:
    """Let NODE lead again if it comes to that. Who leads goes on."""
    session.run(_promote(ctx, NodeName(node)))
    click.echo(f"{node}: promoted")


@click.group()
def node() -> None:
    """One node."""


@node.command()
@click.argument("name", metavar="NODE")
@session.output_option
@click.pass_context
def inspect(ctx: click.Context, name: str, output: str) -> None:
    """Show all that is known of NODE, and why each instance is there."""
    world = session.run(session.world(ctx))
    found = _inspected(world, NodeName(name))
    session.print_object(found, output, _lines(found))


async def _set(ctx: click.Context, name: NodeName, state: str) -> None:
    async with session.registry(ctx) as (store, world):
        await give.set_availability(store, world, name, state, now=time.time(), who=session.who())


async def _demote(ctx: click.Context, name: NodeName) -> str:
    async with session.registry(ctx) as (store, world):
        revision = await give.demote(store, world, name, now=time.time(), who=session.who())
        after = await follow.until(
            store, lambda w: w.revision >= revision and w.leader not in (None, name), LED_WITHIN_S, "another one leads"
        )
    return after.leader or ""


async def _promote(ctx: click.Context, name: NodeName) -> None:
    async with session.registry(ctx) as (store, world):
        await give.promote(store, world, name, now=time.time(), who=session.who())


async def _drain(ctx: click.Context, name: NodeName, within_s: float | None) -> None:
    async with session.registry(ctx) as (store, world):
        revision = await give.set_availability(store, world, name, "drained", now=time.time(), who=session.who())
        if within_s is None:
            return

        def empty(world: World) -> bool:
            return world.revision >= revision and not _assigned(world, name)

        try:
            await follow.until(store, empty, within_s, f"emptying {name}")
        except HecdError as err:
            world = await anext(aiter(follow.worlds(store)))
            left = _assigned(world, name)
            services = {a.service for a in left}
            why = [f"{r.service}: {r.reason}" for r in world.rollouts.values() if r.service in services and r.reason]
            brief = f"{name} still has {len(left)} instances after {within_s:g} s"
            raise HecdError(brief, details=tuple(why), hint="It goes on; `hecd status` tells more.") from err


def _assigned(world: World, name: NodeName) -> list[Any]:
    return [a for (where, _), a in world.assignments.items() if where == name]


def _inspected(world: World, name: NodeName) -> dict[str, Any]:
    record, orders = world.nodes.get(name), _assigned(world, name)
    state = world.availability.get(name)
    if record is None and not orders and state is None:
        there = ", ".join(sorted(world.nodes)) or "none"
        raise NotFound(f"there is no node {name!r}", hint=f"Nodes: {there}.")
    instances = []
    for order in sorted(orders, key=lambda a: str(a.instance)):
        seen = world.instances.get(order.instance)
        doing = seen.state if seen else "not announced"
        instances.append({"instance": order.instance, "state": doing, "drain": order.drain, "reason": order.reason})
    edge = world.edges.get(name)
    return {
        "node": name,
        "alive": record is not None,
        "availability": state.state if state else "active",
        "set_by": state.set_by if state else "",
        "record": session.plain(record) if record else None,
        "reserved": _reserved(world, orders),
        "instances": instances,
        "load_balancer": session.plain(edge) if edge else None,
        "leads": world.leader == name,
        "demoted": name in world.demotions,
    }


def _standing(found: dict[str, Any]) -> str:
    return " (leads)" if found["leads"] else " (demoted: does not lead)" if found["demoted"] else ""


def _reserved(world: World, orders: list[Any]) -> dict[str, float]:
    asked = [world.services[a.service].placement for a in orders if a.service in world.services]
    return {"cpus": sum(p.cpus for p in asked), "memory_bytes": sum(p.memory_bytes for p in asked)}


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['node']}  {'alive' if found['alive'] else 'away'}, {found['availability']}"
    if (record := found["record"]) is not None:
        labels = ", ".join(f"{k}={v}" for k, v in record["labels"].items()) or "none"
        capacity, reserved = record["capacity"], found["reserved"]
        yield f"  roles      {', '.join(record['roles'])}{_standing(found)}"
        yield f"  labels     {labels}"
        yield f"  address    {record['address']}, containers in {record['subnet']}"
        yield f"  CPUs       {reserved['cpus']:g} of {capacity['cpus']:g} reserved"
        yield f"  memory     {reserved['memory_bytes'] >> 20} of {capacity['memory_bytes'] >> 20} MiB reserved"
        yield f"  instances  {len(found['instances'])} of {capacity['instances']}"
    for instance in found["instances"]:
        doing = f"{instance['state']}{', to finish' if instance['drain'] else ''}"
        yield f"  {instance['instance']:<10} {doing}: {instance['reason']}"
