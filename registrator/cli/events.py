"""hecd events: what happens, as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict

import click

from registrator.cli import session
from registrator.errors import NotFound
from registrator.orders import events as happened
from registrator.orders import follow, known
from registrator.orders.events import Event
from registrator.registry.store import Store
from registrator.registry.world import World


@click.command()
@click.argument("names", nargs=-1)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="So many of the past.")
@session.output_option
@click.pass_context
def events(ctx: click.Context, names: tuple[str, ...], follows: bool, lines: int, output: str) -> None:
    """Tell what happened of late, and why; of all, or of the services, nodes and instances named.

    Of the past the registry keeps orders, the ends of releases, and the last change of each instance and node; with -f
    every step is told. As JSON, each event is one line.
    """
    work = _events(ctx, names, follows, lines, output)
    session.run(session.until_told(work) if follows else work)


async def _events(ctx: click.Context, names: Collection[str], follows: bool, lines: int, output: str) -> None:
    async with session.registry(ctx) as (store, world):
        _check(names, world, follows)
        past = _of(names, happened.lately(world))
        _print(past[max(0, len(past) - lines) :], output)
        if follows:
            await _follow(store, world, names, output)


def _check(names: Collection[str], world: World, follows: bool) -> None:
    """Raises NotFound for a name of nothing; where what comes is waited for, that is only told."""
    try:
        offered = known.services(world) | set(world.nodes)
        known.need(names, known.anything(world), "service, node or instance", offered)
    except NotFound as err:
        if not follows:
            raise
        session.progress(f"note: {err.brief} yet")


async def _follow(store: Store, world: World, names: Collection[str], output: str) -> None:
    before = world
    async for after in follow.worlds(store):
        _print(_of(names, happened.between(before, after, time.time())), output)
        before = after


def _of(names: Collection[str], found: Iterable[Event]) -> list[Event]:
    return [event for event in found if not names or {event.about, event.service} & set(names)]


def _print(found: Iterable[Event], output: str) -> None:
    for event in found:
        if output == "json":
            click.echo(json.dumps(asdict(event)))
        else:
            at = time.strftime("%m-%d %H:%M:%S", time.localtime(event.at))
            click.echo(f"{at}  {event.about}  {event.text}")
