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
@click.pass_context
def load(ctx: click.Context, path: Path) -> None:
    """Load an OCI layout directory, an OCI archive or a `docker save` archive."""
    with local.opened(session.settings(ctx)) as here:
        for name in here.load(path):
            click.echo(name)
