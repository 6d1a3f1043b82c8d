"""hecd lock, hecd unlock."""

from __future__ import annotations

import time

import click

from registrator.cli import session
from registrator.model.lock import Lock
from registrator.model.names import ServiceName
from registrator.orders import give
from registrator.registry import lock as locks


@click.command()
@click.argument("service")
@click.option("-m", "--message", callback=session.one_line, required=True, metavar="TEXT", help="Why.")
@click.pass_context
def lock(ctx: click.Context, service: str, message: str) -> None:
    """Let nobody deploy, roll back or remove SERVICE until `hecd unlock`. What runs, runs on; scaling is allowed.

    \b
    hecd lock web -m "moving the database, back at 14:00"
    """
    session.run(_lock(ctx, ServiceName(service), message))
    click.echo(f"{service}: locked")


async def _lock(ctx: click.Context, name: ServiceName, message: str) -> None:
    async with session.registry(ctx) as (store, world):
        give.service_named(world, name)
        now = time.time()
        told = give.deed(now, session.who(), "lock", name, message)
        await locks.lock(store, Lock(name, session.who(), now, message), told)


@click.command()
@click.argument("service")
@click.pass_context
def unlock(ctx: click.Context, service: str) -> None:
    """Take the lock on SERVICE away, whoever has it. A deployer that loses its lock changes nothing any more."""
    found = session.run(_unlock(ctx, ServiceName(service)))
    click.echo(f"{service}: unlocked; {found.holder} had it{': ' if found.message else ''}{found.message}")


async def _unlock(ctx: click.Context, name: ServiceName) -> Lock:
    async with session.registry(ctx) as (store, world):
        return await give.unlock(store, world, name, now=time.time(), who=session.who())
