"""hecd logs, hecd exec: into the instances on this host."""

from __future__ import annotations

import queue
import sys
import threading

import click

from registrator.agent import local
from registrator.agent.drivers.runtime import Local
from registrator.cli import session
from registrator.errors import HecdError, NotFound
from registrator.model.instance import Instance
from registrator.model.names import ServiceName, instance_number
from registrator.registry.world import World


@click.command()
@click.argument("target", metavar="SERVICE|INSTANCE")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--tail", type=click.IntRange(0), help="Only the last N lines of each instance.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.pass_context
def logs(ctx: click.Context, target: str, follow: bool, tail: int | None, timestamps: bool) -> None:
    """Show what the instances of a service, or one instance, write."""
    names = [i.instance for i in _targets(session.run(_world(ctx)), target)]
    lines: queue.Queue[str | None] = queue.Queue()
    with local.opened(session.settings(ctx)) as here:
        for name in names:
            reader = threading.Thread(target=_read, args=(here, name, tail, follow, timestamps, lines), daemon=True)
            reader.start()
        ended = 0
        while ended < len(names):
            if (line := lines.get()) is None:
                ended += 1
            else:
                click.echo(line)


def _read(
    here: Local, name: str, tail: int | None, follow: bool, timestamps: bool, out: queue.Queue[str | None]
) -> None:
    try:
        for moment, _, text in here.logs(name, tail=tail, follow=follow):
            when = f"{moment.isoformat(timespec='milliseconds')} " if timestamps else ""
            out.put(f"{name} | {when}{text}")
    except HecdError as err:
        out.put(f"{name} | ({err.brief})")
    finally:
        out.put(None)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("target", metavar="SERVICE|INSTANCE")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(ctx: click.Context, target: str, command: tuple[str, ...]) -> None:
    """Run COMMAND inside an instance, as in `hecd exec web.1 -- sh`; its exit code becomes ours."""
    running = [i for i in _targets(session.run(_world(ctx)), target) if i.state in ("starting", "running", "draining")]
    if not running:
        raise NotFound(f"no instance of {target} runs", hint="`hecd ps` lists them.")
    argv = command[1:] if command[0] == "--" else command
    with local.opened(session.settings(ctx)) as here:
        name = running[0].instance
        if not here.has(name):
            raise HecdError(f"{name} runs on node {running[0].node}", hint=f"Run `hecd exec` on {running[0].node}.")
        code = here.exec(name, argv, tty=sys.stdin.isatty() and sys.stdout.isatty())
    ctx.exit(code)


async def _world(ctx: click.Context) -> World:
    async with session.registry(ctx) as (_, world):
        return world


def _targets(world: World, target: str) -> list[Instance]:
    """The instances that `target` names: one, or all of a service."""
    service, _, number = target.partition(".")
    of_service = sorted(world.of_service(ServiceName(service)), key=lambda i: instance_number(i.instance))
    found = [i for i in of_service if not number or i.instance == target]
    if not found:
        there = ", ".join(i.instance for i in of_service) or ", ".join(sorted(world.services)) or "nothing runs"
        raise NotFound(f"there is no {target!r}", hint=f"There is: {there}.")
    return found
