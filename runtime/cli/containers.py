"""hecd-runtime ps, start, stop, restart, wait, kill, rm, inspect."""

from __future__ import annotations

import math
import time
from dataclasses import asdict

import click

from runtime.cli import session
from runtime.cli.numbers import Finite
from runtime.model import Container, State

names = click.argument("names", nargs=-1, required=True, metavar="NAME…", shell_complete=session.complete_names)
_patience = click.option(
    "-t", "--time", "grace_s", type=Finite(), default=10.0, show_default=True, help="Patience, in s."
)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that do not run.")
@click.option("-q", "--quiet", is_flag=True, help="Only names.")
@session.output_option
@click.pass_context
def ps(ctx: click.Context, everything: bool, quiet: bool, output: str) -> None:
    """List the containers that run."""
    with session.opened(ctx) as host:
        found = [c for c in host.containers.list() if everything or c.state is State.RUNNING]
    if quiet:
        for container in found:
            click.echo(container.name)
        return
    session.print_rows([_row(c) for c in found], found, output)


@click.command()
@names
@click.pass_context
def start(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Run containers that have ended, with the files, address and log they had."""
    with session.opened(ctx) as host:
        for name in names:
            click.echo(host.containers.start(name).name)


@click.command()
@names
@_patience
@click.pass_context
def stop(ctx: click.Context, names: tuple[str, ...], grace_s: float) -> None:
    """Send the stop signal, wait, and kill what is still there."""
    with session.opened(ctx) as host:
        for name in names:
            click.echo(host.containers.stop(name, grace_s).name)


@click.command()
@names
@_patience
@click.pass_context
def restart(ctx: click.Context, names: tuple[str, ...], grace_s: float) -> None:
    """Stop containers as `stop` does, and run them again."""
    with session.opened(ctx) as host:
        for name in names:
            host.containers.stop(name, grace_s)
            click.echo(host.containers.start(name).name)


@click.command()
@names
@click.pass_context
def wait(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Wait until containers have ended, and print their exit codes."""
    with session.opened(ctx) as host:
        for name in names:
            host.containers.wait(name, math.inf)
            code = host.containers.inspect(name).exit_code
            click.echo("unknown" if code is None else code)


@click.command()
@names
@click.option("-s", "--signal", default="SIGKILL", show_default=True, help="Which signal.")
@click.pass_context
def kill(ctx: click.Context, names: tuple[str, ...], signal: str) -> None:
    """Send a signal to the first process of containers."""
    with session.opened(ctx) as host:
        for name in names:
            host.containers.signal(name, signal)
            click.echo(name)


@click.command()
@names
@click.option("-f", "--force", is_flag=True, help="Kill those that run; do not mind those that are not there.")
@click.pass_context
def rm(ctx: click.Context, names: tuple[str, ...], force: bool) -> None:
    """Remove containers, and all they wrote outside of mounts."""
    with session.opened(ctx) as host:
        for name in names:
            if not force and host.containers.inspect(name).state is State.RUNNING:
                raise click.ClickException(f"{name} runs. Stop it first, or give -f.")
            host.containers.remove(name)
            click.echo(name)


@click.command()
@names
@click.pass_context
def inspect(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show all that is known of containers, as JSON."""
    with session.opened(ctx) as host:
        session.print_json([asdict(host.containers.inspect(name)) for name in names])


def _row(c: Container) -> dict[str, str]:
    ports = (f"{_where(p.address)}{p.published}→{p.target}/{p.protocol}" for p in c.spec.ports)
    return {"name": c.name, "image": c.spec.image, "state": _state(c), "address": c.address, "ports": " ".join(ports)}


def _where(address: str) -> str:
    return f"[{address}]:" if ":" in address else f"{address}:" if address else ""


def _state(c: Container) -> str:
    now = time.time()
    if c.state is State.RUNNING:
        return f"running {session.ago(now - (c.started_at or now))}"
    if c.state is State.EXITED:
        how = "out of memory" if c.oom_killed else c.signal or f"code {c.exit_code}"
        again = f", restarted {c.restarts} times" if c.restarts else ""
        return f"exited ({how}) {session.ago(now - (c.finished_at or now))} ago{again}"
    return str(c.state)
