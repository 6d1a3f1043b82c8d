"""How far a pull is: a bar on a terminal, a line at the beginning and the end without one. All on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from runtime.cli import session
from runtime.images.registry import Progress
from runtime.model import Fetching


@contextmanager
def shown() -> Iterator[Progress]:
    """What to give to `host.images.pull`."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def show(now: Fetching) -> None:
            if now.ref not in tasks:
                tasks[now.ref] = bars.add_task(now.ref, total=now.total_bytes)
            bars.update(tasks[now.ref], completed=now.done_bytes)

        yield show


def _lines() -> Progress:
    begun: set[str] = set()

    def show(now: Fetching) -> None:
        if now.ref not in begun:
            begun.add(now.ref)
            left = session.size(now.total_bytes - now.done_bytes)
            click.echo(f"{now.ref}: fetching {left} of {session.size(now.total_bytes)}", err=True)

    return show
