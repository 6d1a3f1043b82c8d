"""hecd-runtime run, create."""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import click

from runtime.cli import described, session
from runtime.host import Host
from runtime.ports import Attachment
from runtime.terminal import converse


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help="Print its name and let it run.")
@click.option("--rm", "remove", is_flag=True, help="Remove it once it has ended.")
@described.options
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, /, detach: bool, remove: bool, **options: Any) -> None:
    """Make a container of IMAGE and run it; without -d, show what it writes and end with its exit code."""
    spec = described.spec_of(options)
    if spec.tty and spec.stdin_open and not detach and not sys.stdin.isatty():
        raise click.UsageError("-t needs a terminal, and stdin is none")
    if remove and spec.restart.policy != "no":
        raise click.UsageError("--rm and --restart exclude each other")
    with session.opened(ctx) as host:
        host.images.pull(spec.image)
        host.containers.create(spec)
        typing = (spec.tty or spec.stdin_open) and not detach
        peers: list[Attachment] = []
        attached = (lambda: peers.append(host.inside.attach(spec.name))) if typing else (lambda: None)
        try:
            host.containers.start(spec.name, attached)
        except BaseException:
            host.containers.remove(spec.name)
            raise
        if detach:
            click.echo(spec.name)
            return
        try:
            if typing and converse(peers[0], terminal=spec.tty, typing=spec.stdin_open):
                click.echo(f"detached; {spec.name} goes on", err=True)
                remove = False
                return
            code = ended(host, spec.name) if typing else _attended(host, spec.name)
        finally:
            if remove:
                host.containers.remove(spec.name)
    ctx.exit(code)


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@described.options
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def create(ctx: click.Context, /, **options: Any) -> None:
    """Make a container of IMAGE that `start` runs."""
    spec = described.spec_of(options)
    with session.opened(ctx) as host:
        host.images.pull(spec.image)
        click.echo(host.containers.create(spec).name)


def _attended(host: Host, name: str) -> int:
    """Pass on what it writes until it ends; Ctrl-C stops it. Its exit code."""
    try:
        _show(host, name)
    except KeyboardInterrupt:
        click.echo(f"stopping {name}", err=True)
        rest = threading.Thread(target=lambda: _show(host, name, tail=0), daemon=True)
        rest.start()
        host.containers.stop(name)
        rest.join(1.0)
    return ended(host, name)


def ended(host: Host, name: str) -> int:
    """The exit code, once it has ended."""
    host.containers.wait(name, math.inf)
    container = host.containers.inspect(name)
    if container.oom_killed:
        click.echo(f"{name} ran out of memory", err=True)
    return 1 if container.exit_code is None else container.exit_code


def _show(host: Host, name: str, tail: int | None = None) -> None:
    for line in host.inside.follow_logs(name, tail):
        print(line.text, file=sys.stderr if line.stream == "stderr" else sys.stdout, flush=True)
