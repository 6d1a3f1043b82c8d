"""hecd scale, rm, restore."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import click

from registrator.cli import session
from registrator.control.backup import Backup
from registrator.errors import HecdError
from registrator.model.names import ServiceName
from registrator.orders import follow, give
from registrator.registry.world import World

SETTLED_WITHIN_S = 120.0
MOST_DIGITS = 9  # what is too many is said by the order


@click.command()
@click.argument("wanted", nargs=-1, required=True, metavar="SERVICE=REPLICAS...")
@click.option("-d", "--detach", is_flag=True, help="Do not wait until so many serve.")
@session.output_option
@click.pass_context
def scale(ctx: click.Context, wanted: tuple[str, ...], detach: bool, output: str) -> None:
    """Set how many instances of a service run, as in `hecd scale web=5`."""
    counts = _counts(wanted)
    session.run(_scale(ctx, counts, detach))
    told = "ordered" if detach else "serving"
    session.print_object(counts, output, [f"{name}: {count} {told}" for name, count in counts.items()])


def _counts(words: Sequence[str]) -> dict[ServiceName, int]:
    """Service -> replicas. Raises UsageError where a word is none, or names a service for the second time."""
    counts: dict[ServiceName, int] = {}
    for name, count in map(_pair, words):
        if name in counts:
            raise click.UsageError(f"{name} is named twice: {name}={counts[name]} and {name}={count}")
        counts[name] = count
    return counts


def _pair(word: str) -> tuple[ServiceName, int]:
    name, _, count = word.partition("=")
    if not name or not count.isascii() or not count.isdigit() or len(count) > MOST_DIGITS:
        raise click.UsageError(f"{word!r} is not SERVICE=REPLICAS with REPLICAS 0 or more, as in web=5")
    return ServiceName(name), int(count)


async def _scale(ctx: click.Context, wanted: dict[ServiceName, int], detach: bool) -> None:
    async with session.registry(ctx) as (store, world):
        revision = await give.scale(store, world, wanted, now=time.time(), who=session.who())
        if detach:
            return
        await follow.replicas(store, wanted, SETTLED_WITHIN_S, after=revision, show=session.show)


@click.command()
@click.argument("services", nargs=-1, required=True)
@session.output_option
@click.pass_context
def rm(ctx: click.Context, services: tuple[str, ...], output: str) -> None:
    """Remove services: their instances drain and stop, then their records go."""
    session.run(_rm(ctx, [ServiceName(s) for s in services]))
    session.print_object({"removed": services}, output, [f"{name}: removed" for name in services])


async def _rm(ctx: click.Context, names: list[ServiceName]) -> None:
    async with (
        session.registry(ctx) as (store, _),
        session.locked(ctx, store, sorted(names), "removes it") as (world, lock),
    ):
        for name in names:
            give.known(world, name)  # all or none
        for name in names:
            revision = await give.retire(store, world, name, now=time.time(), who=session.who(), under=lock)
            empty = functools.partial(_empty, name=name, since=revision)
            gone = await follow.until(store, empty, SETTLED_WITHIN_S, f"removing {name}", watch=name, show=session.show)
            await give.forget(store, gone, name)


def _empty(world: World, *, name: ServiceName, since: int) -> bool:
    wanted_none = world.revision >= since and (s := world.services.get(name)) is not None and s.replicas == 0
    idle = not any(world.of_service(name)) and not any(world.assigned(name)) and not world.runs_of(name)
    return wanted_none and idle


@click.command()
@session.output_option
@click.pass_context
def restore(ctx: click.Context, output: str) -> None:
    """Bring the orders back after etcd lost its data, as the leader on this machine last knew them."""
    count = session.run(_restore(ctx))
    session.print_object({"restored": count}, output, [f"{count} records are back; agents and control go on from here"])


async def _restore(ctx: click.Context) -> int:
    kept = Backup(session.settings(ctx).lib / "orders.json").load()
    async with session.registry(ctx) as (store, world):
        count = await give.restore(store, world, kept, now=time.time(), who=session.who())
    if count == 0:
        raise HecdError("the backup holds no orders")
    return count
