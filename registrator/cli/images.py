"""hecd image: images of this host, without a registry."""

from __future__ import annotations

from pathlib import Path

import click

from registrator.agent import local
from registrator.cli import session


@click.group()
def image() -> None:
    """Images of this host."""


@image.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@session.output_option
@click.pass_context
def load(ctx: click.Context, path: Path, output: str) -> None:
    """Load an OCI layout directory, an OCI archive or a `docker save` archive; prints the images' names."""
    with local.opened(session.settings(ctx)) as here:
        names = here.load(path)
    session.print_object({"loaded": names}, output, names)
