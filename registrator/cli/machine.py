"""hecd up, hecd down."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from contextlib import suppress

import click

from registrator.cli import session
from registrator.config import ENGINES, Config
from registrator.errors import HecdError
from registrator.up import machine
from registrator.up.supervisor import Print, Supervisor

READY_WITHIN_S = 30.0
DOWN_WITHIN_S = 60.0
COLOURS = {
    "etcd": "blue",
    "confd-py": "magenta",
    "haproxy": "cyan",
    "control": "yellow",
    "agent": "green",
    "hecd": None,
}


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), help="What runs the containers.  [default: what it was last]")
@click.pass_context
def up(ctx: click.Context, engine: str | None) -> None:
    """Run everything on this machine in the foreground: etcd, HAProxy, confd-py, the control loop and the agent.

    Containers outlive it: when it starts again, it goes on with those that still run.
    """
    ctx.obj = {**(ctx.obj or {}), "engine": engine}
    config = session.settings(ctx)
    with machine.running(config, _print) as (config, supervisor):
        session.run(_up(config, supervisor))


async def _up(config: Config, supervisor: Supervisor) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    supervisor.start()
    hello = asyncio.create_task(_hello(config, _print))
    await told.wait()
    _print("hecd", "stopping; containers run on")
    hello.cancel()
    with suppress(asyncio.CancelledError):
        await hello
    await supervisor.stop()


async def _hello(config: Config, show: Print) -> None:
    """Say when all parts have found each other, or what is missing."""
    try:
        await machine.ready(config, READY_WITHIN_S)
    except TimeoutError:
        show("hecd", f"not everything is up after {READY_WITHIN_S:g} s; the lines above tell why")
    else:
        root = f" --root {config.root}" if config.root else ""
        show("hecd", f"up. Try: hecd{root} deploy -f compose.yaml · statistics: http://127.0.0.1:{config.stats_port}/")


def _print(program: str, line: str) -> None:
    click.echo(f"{click.style(f'{program:9}', fg=COLOURS.get(program))}| {line}")


@click.command()
@session.output_option
@click.pass_context
def down(ctx: click.Context, output: str) -> None:
    """Stop what `hecd up` runs, then remove the containers it left. The orders stay: `hecd up` brings all back."""
    from registrator.agent import local  # the runtime, which `up` itself does not need

    config = session.settings(ctx)
    stopped = _stop_up(config)
    with machine.lock(config), local.opened(config) as here:
        removed = here.remove_all()
    if not stopped and not removed:
        session.progress("nothing was up")
    lines = [f"down; {removed} containers removed"] if stopped or removed else []
    session.print_object({"stopped": stopped, "removed": removed}, output, lines)


def _stop_up(config: Config) -> bool:
    pid = machine.running_pid(config)
    if pid is None:
        return False
    fd = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGTERM)
        ended, _, _ = select.select([fd], [], [], DOWN_WITHIN_S)
    finally:
        os.close(fd)
    if not ended:
        raise HecdError(f"hecd up (pid {pid}) did not end within {DOWN_WITHIN_S:g} s", hint=f"Try kill -9 {pid}.")
    return True
