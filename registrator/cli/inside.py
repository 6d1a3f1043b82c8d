"""hecd logs, hecd exec: into the instances on this host."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

import click

from registrator.agent import local
from registrator.agent.drivers.runtime import Local
from registrator.cli import session
from registrator.errors import HecdError, NotFound
from registrator.model.hook import HOOKS, Run
from registrator.model.instance import Instance
from registrator.model.names import ServiceName, instance_number
from registrator.orders.follow import worlds
from registrator.orders.hooks import last_run
from registrator.registry.world import World


@click.command()
@click.argument("target", metavar="SERVICE|INSTANCE")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--tail", type=click.IntRange(0), help="Only the last N lines of each instance.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.option("--hook", type=click.Choice(HOOKS), help="Of the last run of this hook of the service instead.")
@click.pass_context
def logs(ctx: click.Context, target: str, follow: bool, tail: int | None, timestamps: bool, hook: str | None) -> None:
    """Show what the instances of a service, or one instance, write. With -f also of those that come later."""
    show = Printer(tail, follow, timestamps)
    with local.opened(session.settings(ctx)) as here:
        try:
            if hook:
                world = session.run(session.world(ctx))
                _of_hook(world, here, last_run(world, ServiceName(target), hook), show)
            elif follow:
                session.run(_follow(ctx, here, target, show))
        except KeyboardInterrupt:  # the usual end
            raise SystemExit(130) from None
        for name in [] if follow or hook else [i.instance for i in _targets(session.run(session.world(ctx)), target)]:
            show.all_of(here, name)


def _of_hook(world: World, here: Local, run: Run, show: Printer) -> None:
    """All that it wrote where it ran here, else the last lines that its node told."""
    if here.has(run.run):
        show.all_of(here, run.run)
        return
    result = world.results.get(run.run)
    for line in result.log_tail if result else ():
        click.echo(f"{run.run} | {line}")
    click.echo(f"({run.run} ran on {run.node}; `hecd logs` there shows all of it)", err=True)


async def _follow(ctx: click.Context, here: Local, target: str, show: Printer) -> None:
    """Read each instance in a thread of its own, also those that start meanwhile, until interrupted."""
    reading: set[str] = set()
    async with session.registry(ctx) as (store, world):
        _targets(world, target)
        async for now in worlds(store):
            for name in [i.instance for i in _matching(now, target) if i.instance not in reading and i.endpoints]:
                reading.add(name)
                threading.Thread(target=show.all_of, args=(here, name), daemon=True).start()


@dataclass(frozen=True)
class Printer:
    """Prints the lines of instances, each behind its instance's name."""

    tail: int | None
    follow: bool
    timestamps: bool

    def all_of(self, here: Local, name: str) -> None:
        """Print what `name` wrote; with `follow` until it has ended."""
        try:
            for moment, _, text in here.logs(name, tail=self.tail, follow=self.follow):
                when = f"{moment.isoformat(timespec='milliseconds')} " if self.timestamps else ""
                click.echo(f"{name} | {when}{text}")
        except HecdError as err:
            click.echo(f"{name} | ({err.brief})", err=True)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("target", metavar="SERVICE|INSTANCE")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(ctx: click.Context, target: str, command: tuple[str, ...]) -> None:
    """Run COMMAND inside an instance, as in `hecd exec web.1 -- sh`; its exit code becomes ours."""
    running = [
        i for i in _targets(session.run(session.world(ctx)), target) if i.state in ("starting", "running", "draining")
    ]
    if not running:
        raise NotFound(f"no instance of {target} runs", hint="`hecd ps` lists them.")
    argv = command[1:] if command[0] == "--" else command
    with local.opened(session.settings(ctx)) as here:
        name = running[0].instance
        if not here.has(name):
            raise HecdError(f"{name} runs on node {running[0].node}", hint=f"Run `hecd exec` on {running[0].node}.")
        code = here.exec(name, argv, tty=sys.stdin.isatty() and sys.stdout.isatty())
    ctx.exit(code)


def _targets(world: World, target: str) -> list[Instance]:
    """The instances that `target` names: one, or all of a service. Raises NotFound where there are none."""
    found = _matching(world, target)
    if not found:
        there = ", ".join([*sorted(world.services), *sorted(world.instances)]) or "nothing"
        raise NotFound(f"no instance of {target!r} runs", hint=f"Known are: {there}.")
    return found


def _matching(world: World, target: str) -> list[Instance]:
    service, _, number = target.partition(".")
    of_service = sorted(world.of_service(ServiceName(service)), key=lambda i: instance_number(i.instance))
    return [i for i in of_service if not number or i.instance == target]
