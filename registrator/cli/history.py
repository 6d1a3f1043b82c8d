"""hecd history, hecd rollback."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import click

from registrator.cli import session
from registrator.cli.deploy import raise_failures, tell_of_hooks
from registrator.model.names import ReleaseNumber, ServiceName
from registrator.orders import follow, give
from registrator.orders.history import Entry
from registrator.orders.history import history as entries_of
from registrator.registry.world import Reader, World


@click.command()
@click.argument("service", required=False)
@session.output_option
@click.pass_context
def history(ctx: click.Context, service: str | None, output: str) -> None:
    """List the last releases of SERVICE: who made each, when, of which image, how it ended and why.

    SERVICE may be left away where there is only one.

    \b
    hecd history web
    hecd rollback web 3
    """
    world = session.run(session.world(ctx))
    rows = [_row(entry) for entry in entries_of(world, give.chosen(world, service).service)]
    columns = ("release", "now", "outcome", "made", "by", "image", "digest", "why")
    session.print_rows(rows, columns, output, "it has no releases: somebody else runs its containers")


def _row(entry: Entry) -> dict[str, Any]:
    row = asdict(entry)
    if entry.digest:
        row["digest_whole"], row["digest"] = entry.digest, entry.digest.removeprefix("sha256:")[:12]
    made = f"{session.age(time.time() - entry.at)} ago"
    now = "serves" if entry.serves else "served" if entry.served else ""
    return {**row, "now": now, "made": made, "why": entry.reason}


@click.command()
@click.argument("words", nargs=-1, metavar="[SERVICE] [RELEASE]")
@click.option("-d", "--detach", is_flag=True, help="Do not wait for the release to end.")
@session.output_option
@click.pass_context
def rollback(ctx: click.Context, words: tuple[str, ...], detach: bool, output: str) -> None:
    """Go back to the release before the one that serves, or to RELEASE.

    Its instances that still run are kept as they are. A release that has served before is rolled out without a canary.
    SERVICE may be left away where there is only one.

    \b
    hecd rollback            # the only service, to the release before
    hecd rollback web 3      # `hecd history web` lists the numbers
    """
    name, to, lines = session.run(_rollback(ctx, words, detach))
    session.print_object({"service": name, "release": to}, output, lines)


async def _rollback(
    ctx: click.Context, words: tuple[str, ...], detach: bool
) -> tuple[ServiceName, ReleaseNumber, list[str]]:
    """The service, the release that it goes to, and what became of it."""
    async with session.registry(ctx) as (store, world):
        service, release = _read(words, world)
        name = give.chosen(world, service).service
        async with session.locked(ctx, store, [name], "rolls back") as (world, lock):
            to, revision = await give.rollback(
                store, world, name, release, now=time.time(), who=session.who(), under=lock
            )
            if detach:
                return name, to, [f"{name}: goes to release {to}; `hecd rollout status -f {name}` follows it"]
            ended = await follow.releases(store, {name: to}, after=revision, show=session.show)
            now = Reader().read(store.snapshot())
    tell_of_hooks(ended)
    raise_failures(ended, now)
    return name, to, follow.ends(now, ended)


def _read(words: tuple[str, ...], world: World) -> tuple[str | None, ReleaseNumber | None]:
    """Service and release of the words; a single number is a release unless a service is called so."""
    if len(words) == 1 and words[0].isdecimal() and words[0] not in world.services:
        return None, ReleaseNumber(int(words[0]))
    if len(words) > 2 or (len(words) == 2 and not words[1].isdecimal()):
        raise click.UsageError("write [SERVICE] [RELEASE], as in `hecd rollback web 3`")
    return (words[0] if words else None), (ReleaseNumber(int(words[1])) if len(words) == 2 else None)
