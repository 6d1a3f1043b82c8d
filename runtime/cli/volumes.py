"""hecd-runtime volume."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from runtime.cli import session

names = click.argument("names", nargs=-1, required=True, metavar="NAME…")


@click.group()
def volume() -> None:
    """Directories with a name, which outlive the containers they are mounted in: `run -v NAME:TARGET`."""


@volume.command("create")
@click.option("-l", "--label", multiple=True, metavar="KEY=VALUE", help="A note on the volume.")
@click.argument("name")
@click.pass_context
def create(ctx: click.Context, name: str, label: tuple[str, ...]) -> None:
    """Make a volume; one that is there is left as it is."""
    with session.opened(ctx) as host:
        click.echo(host.volumes.create(name, dict(text.partition("=")[::2] for text in label)).name)


@volume.command("ls")
@click.option("-q", "--quiet", is_flag=True, help="Only names.")
@session.output_option
@click.pass_context
def ls(ctx: click.Context, quiet: bool, output: str) -> None:
    """List the volumes."""
    with session.opened(ctx) as host:
        found = host.volumes.all()
    if quiet:
        for one in found:
            click.echo(one.name)
        return
    now = time.time()
    rows = [{"name": v.name, "age": session.ago(now - v.created_at), "used by": ", ".join(v.containers)} for v in found]
    session.print_rows(rows, found, output)


@volume.command("inspect")
@names
@click.pass_context
def inspect(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show all that is known of volumes, as JSON; `path` is where they lie."""
    with session.opened(ctx) as host:
        session.print_json([asdict(host.volumes.inspect(name)) for name in names])


@volume.command("rm")
@names
@click.pass_context
def rm(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Delete volumes with all that is in them; those that a container has, running or not, stay."""
    with session.opened(ctx) as host:
        for name in names:
            host.volumes.remove(name)
            click.echo(name)
