"""hecd-runtime pull, image, gc."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from pathlib import Path

import click

from runtime.cli import progress, session
from runtime.model import ImageConfig


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_context
def pull(ctx: click.Context, refs: tuple[str, ...]) -> None:
    """Bring images here, as their names stand in the registry now."""
    with session.opened(ctx) as host, progress.shown() as show:
        for ref in refs:
            image = host.images.pull(ref, refresh=True, progress=show)
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
        found = host.images.list()
    session.print_rows([{"image": i.ref, "digest": i.digest} for i in found], found, output)


@image.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.pass_context
def load(ctx: click.Context, path: Path) -> None:
    """Load an OCI layout directory, an OCI archive or what `docker save` wrote."""
    with session.opened(ctx) as host:
        for loaded in host.images.load(path):
            click.echo(f"{loaded.ref} {loaded.digest}")


@image.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_context
def untag(ctx: click.Context, refs: tuple[str, ...]) -> None:
    """Take names away; images without one go with the next `gc`."""
    with session.opened(ctx) as host:
        for ref in refs:
            host.catalog.untag(ref)
            click.echo(ref)


@image.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_context
def rm(ctx: click.Context, refs: tuple[str, ...]) -> None:
    """Take names away; with its last name an image goes, unless a container uses it."""
    with session.opened(ctx) as host:
        for ref in refs:
            swept = host.catalog.remove(ref)
            gone = f", {session.size(swept.freed_bytes)} freed" if swept.images else "; it has other names"
            click.echo(f"{ref} removed{gone}")


@image.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.pass_context
def inspect(ctx: click.Context, refs: tuple[str, ...]) -> None:
    """Show all that is known of images, as JSON."""
    with session.opened(ctx) as host:
        session.print_json([asdict(host.catalog.inspect(ref)) for ref in refs])


@image.command()
@click.argument("refs", nargs=-1, required=True, metavar="IMAGE…")
@click.option(
    "-o", "--output", "path", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file."
)
@click.pass_context
def save(ctx: click.Context, refs: tuple[str, ...], path: Path) -> None:
    """Write images to an archive that `docker load`, podman, skopeo and `load` read."""
    with session.opened(ctx) as host:
        host.catalog.save(refs, path)


@image.command("import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("ref", metavar="IMAGE")
@click.option("--command", default="", metavar="WORDS", help="What its containers run, as a shell would split it.")
@click.option("-e", "--env", multiple=True, metavar="KEY=VALUE", help="A variable of their environment.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who runs it.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Where it runs.")
@click.pass_context
def import_(
    ctx: click.Context, path: Path, ref: str, command: str, env: tuple[str, ...], user: str, workdir: str
) -> None:
    """Make an image of a tar of a root file system."""
    if wrong := [pair for pair in env if "=" not in pair]:
        raise click.BadParameter(f"{wrong[0]!r} is no KEY=VALUE", ctx, param_hint="--env")
    variables = dict(pair.split("=", 1) for pair in env)
    config = ImageConfig(command=tuple(shlex.split(command)), env=variables, user=user, working_dir=workdir)
    with session.opened(ctx) as host:
        made = host.catalog.import_rootfs(path, ref, config)
        click.echo(f"{made.ref} {made.digest}")


@image.command()
@click.argument("context", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-t", "--tag", "ref", required=True, metavar="IMAGE", help="The name of the image.")
@click.option(
    "-f", "--file", "dockerfile", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The Dockerfile."
)
@click.pass_context
def build(ctx: click.Context, context: Path, ref: str, dockerfile: Path | None) -> None:
    """Build a Dockerfile with buildah, which has to be installed."""
    with session.opened(ctx) as host:
        built = host.catalog.build(context, ref, dockerfile)
        click.echo(f"{built.ref} {built.digest}")


def span(text: str) -> float:
    """30m, 12h, 7d: a span of time, in seconds."""
    found = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    if not found:
        raise click.BadParameter(f"{text!r} is no span of time: write 30m, 12h or 7d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]


@click.command()
@click.option("--all", "unused", is_flag=True, help="Also images that have a name, where no container uses them.")
@click.option(
    "--older-than", type=span, default="0s", metavar="SPAN", help="Only those not used for this long: 12h, 7d."
)
@session.output_option
@click.pass_context
def gc(ctx: click.Context, unused: bool, older_than: float, output: str) -> None:
    """Delete images that nothing needs, and what crashes left."""
    with session.opened(ctx) as host:
        swept = host.catalog.gc(unused=unused, older_than_s=older_than)
    if output == "json":
        session.print_json(asdict(swept))
    else:
        freed = session.size(swept.freed_bytes)
        click.echo(f"{len(swept.images)} images, {swept.layers} layers, {swept.blobs} blobs deleted; blobs had {freed}")
