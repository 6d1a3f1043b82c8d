"""hecd-runtime pull, image, gc."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from runtime.cli import session


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_context
def pull(ctx: click.Context, refs: tuple[str, ...]) -> None:
    """Bring images here, as their names stand in the registry now."""
    with session.opened(ctx) as host:
        for ref in refs:
            image = host.pull(ref, refresh=True)
            click.echo(f"{image.ref} {image.digest}")


@click.group()
def image() -> None:
    """Images of this host."""


@image.command()
@session.output_option
@click.pass_context
def ls(ctx: click.Context, output: str) -> None:
    """List the images."""
    with session.opened(ctx) as host:
        found = host.images()
    session.print_rows([{"image": i.ref, "digest": i.digest} for i in found], found, output)


@image.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.pass_context
def load(ctx: click.Context, path: Path) -> None:
    """Load an OCI layout directory, an OCI archive or what `docker save` wrote."""
    with session.opened(ctx) as host:
        for loaded in host.load(path):
            click.echo(f"{loaded.ref} {loaded.digest}")


@image.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_context
def untag(ctx: click.Context, refs: tuple[str, ...]) -> None:
    """Take names away; images without one go with the next `gc`."""
    with session.opened(ctx) as host:
        for ref in refs:
            host.untag(ref)
            click.echo(ref)


@click.command()
@click.option("--all", "unused", is_flag=True, help="Also images that have a name, where no container uses them.")
@session.output_option
@click.pass_context
def gc(ctx: click.Context, unused: bool, output: str) -> None:
    """Delete images that nothing needs, and what crashes left."""
    with session.opened(ctx) as host:
        swept = host.gc(unused=unused)
    if output == "json":
        session.print_json(asdict(swept))
    else:
        freed = session.size(swept.freed_bytes)
        click.echo(f"{len(swept.images)} images, {swept.layers} layers, {swept.blobs} blobs deleted; blobs had {freed}")
