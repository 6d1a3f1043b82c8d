"""hecd pause, resume, maintenance: the requests of a service kept back at the load balancers."""

from __future__ import annotations

import time

import click

from registrator.cli import session
from registrator.cli.numbers import Seconds
from registrator.errors import HecdError
from registrator.model.hold import LONGEST_S
from registrator.model.names import ServiceName
from registrator.orders import follow, give
from registrator.registry.acknowledgement import held_back, let_through
from registrator.registry.store import Store
from registrator.registry.world import World

ACKNOWLEDGED_WITHIN_S = 15.0


@click.command()
@click.argument("service")
@click.option(
    "--for",
    "for_s",
    type=Seconds(1.0, LONGEST_S),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help=f"At most so long; no more than {LONGEST_S:g}. Then it goes on by itself.",
)
@session.message_option
@click.pass_context
def pause(ctx: click.Context, service: str, for_s: float, message: str) -> None:
    """Let new requests of SERVICE wait at the load balancers until `hecd resume`. None is lost.

    What instances have begun they finish. Returns when every load balancer holds.

    \b
    hecd pause web --for 40 -m "switching the database" && ./switch && hecd resume web
    """
    session.run(_hold(ctx, ServiceName(service), "wait", for_s, message))
    until = time.strftime("%H:%M:%S", time.localtime(time.time() + for_s))
    click.echo(f"{service}: requests wait, until `hecd resume {service}` or {until}")


@click.command()
@click.argument("service")
@click.pass_context
def resume(ctx: click.Context, service: str) -> None:
    """Let the requests of SERVICE that wait go on, in the order in which they came."""
    session.run(_let_go(ctx, ServiceName(service), "wait"))
    click.echo(f"{service}: requests go on")


@click.command()
@click.argument("service")
@click.argument("switch", type=click.Choice(["on", "off"]))
@session.message_option
@click.pass_context
def maintenance(ctx: click.Context, service: str, switch: str, message: str) -> None:
    """Answer new requests of SERVICE with 503 and Retry-After, for as long as it takes; or serve them again.

    \b
    hecd maintenance web on -m "until 14:00"
    """
    if switch == "on":
        session.run(_hold(ctx, ServiceName(service), "sorry", 0.0, message))
    else:
        session.run(_let_go(ctx, ServiceName(service), "sorry"))
    click.echo(f"{service}: {'answers 503' if switch == 'on' else 'serves again'}")


async def _hold(ctx: click.Context, name: ServiceName, kind: str, for_s: float, message: str) -> None:
    async with session.registry(ctx) as (store, world):
        revision = await give.hold(store, world, name, kind, for_s, message, now=time.time(), who=session.who())
        await _acknowledged(store, name, revision, held=True)


async def _let_go(ctx: click.Context, name: ServiceName, kind: str) -> None:
    async with session.registry(ctx) as (store, world):
        revision = await give.let_go(store, world, name, kind, now=time.time(), who=session.who())
        await _acknowledged(store, name, revision, held=False)


async def _acknowledged(store: Store, name: ServiceName, revision: int, *, held: bool) -> None:
    """Wait until every load balancer that is alive says so."""

    def done(world: World) -> bool:
        service = world.services.get(name)
        if world.revision < revision or service is None:
            return False
        edges = world.edges.values()
        if held or any(key[0] == name for key in world.holds):
            return held_back(service, edges)
        return let_through(service, edges)

    try:
        await follow.until(store, done, ACKNOWLEDGED_WITHIN_S, "the load balancers")
    except HecdError as err:
        world = await anext(aiter(follow.worlds(store)))
        late = [f"{e.node}: {e.error or 'has not said so yet'}" for e in world.edges.values()]
        hint = "It is ordered, and done as soon as they can. `hecd status` tells more."
        raise HecdError("not every load balancer has followed", details=tuple(late), hint=hint) from err
