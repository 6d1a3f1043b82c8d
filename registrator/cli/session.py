"""What the commands share: settings, an open registry, who is asking, and how results are printed."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any, TypeVar

import click

from registrator import config
from registrator.config import Config
from registrator.errors import Conflict, RegistryUnavailable
from registrator.model.names import ServiceName
from registrator.orders.follow import Standing
from registrator.registry import lock
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.store import Guard, Store
from registrator.registry.world import Reader, World
from registrator.up import machine

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

PATIENCE_S, ANSWER_WITHIN_S = 2.0, 10.0  # until it says what it waits for, and until it gives up


def settings(ctx: click.Context) -> Config:
    """The configuration in force, with the flags of the top command."""
    return config.load(ctx.obj or {}, config.environment())


@asynccontextmanager
async def registry(ctx: click.Context) -> AsyncIterator[tuple[EtcdStore, World]]:
    """The registry and the world as it is now. Raises RegistryUnavailable after ten seconds."""
    config_ = settings(ctx)
    if not config_.etcd and config_.endpoint_file.exists() and machine.running_pid(config_) is None:
        root = f" --root {config_.root}" if config_.root else ""
        raise RegistryUnavailable(
            "nothing is up here", hint=f"Start it with `hecd{root} up`, or name an etcd with --etcd."
        )
    told = f"waiting for etcd at {', '.join(config_.access.endpoints)}"
    waiting = asyncio.get_running_loop().call_later(PATIENCE_S, partial(click.echo, told, err=True))
    try:
        async with open_store(config_.access, ready_within_s=ANSWER_WITHIN_S) as store:
            waiting.cancel()
            yield store, Reader().read(store.snapshot())
    finally:
        waiting.cancel()


async def world(ctx: click.Context) -> World:
    """The world as it is now. Raises RegistryUnavailable."""
    async with registry(ctx) as (_, found):
        return found


@asynccontextmanager
async def locked(
    ctx: click.Context, store: Store, services: Sequence[ServiceName], what: str
) -> AsyncIterator[tuple[World, Sequence[Guard]]]:
    """While the services' locks are held: the world as it is under them, and the guards for every write.

    Raises Locked, which names who has one; HecdError where the lock was lost before a write.
    """
    ttl_s = settings(ctx).lease_ttl
    async with lock.held(store, services, who(), what, ttl_s=ttl_s, now=time.time()) as mine:
        try:
            yield Reader().read(await mine.snapshot()), mine.guards
        except Conflict:
            await mine.check()
            raise


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a command's coroutine; Ctrl-C cancels it."""
    return asyncio.run(work)


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def who() -> str:
    """user@host, for the record."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def one_line(_: click.Context, __: click.Parameter, value: str) -> str:
    """Text that stands in tables and in the audit; wrong usage where it has control characters."""
    if not value.isprintable():
        raise click.BadParameter("write one line, without control characters such as newlines")
    return value


_TOLD = "Why, for whoever looks next."
message_option = click.option("-m", "--message", callback=one_line, default="", metavar="TEXT", help=_TOLD)


def output_option(command: F) -> F:
    """-o json | table, on every command that prints."""
    kinds = click.Choice(["table", "json"])
    return click.option("-o", "--output", type=kinds, default="table", show_default=True, help="How to print.")(command)


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: str, empty: str) -> None:
    """`rows` as a table of `columns`, or whole as JSON. `empty` goes to standard error when there is nothing."""
    if output == "json":
        click.echo(json.dumps([plain(row) for row in rows], indent=2))
        return
    if not rows:
        click.echo(empty, err=True)
        return
    cells = [[c.upper() for c in columns], *([_cell(row.get(c, "")) for c in columns] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    """What is printed of it: whatever somebody wrote into etcd, a row is a line."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def print_object(value: Any, output: str, lines: Iterable[str]) -> None:
    """One thing: as JSON, or as the given lines."""
    if output == "json":
        click.echo(json.dumps(plain(value), indent=2))
        return
    for line in lines:
        click.echo(line)


def plain(value: Any) -> Any:
    """`value` in what JSON has."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return value


def progress(line: str) -> None:
    """A line for the person who waits; never on standard output."""
    click.echo(line, err=True)


def show(standing: Standing) -> None:
    """How far a service is, for the person who waits."""
    progress(f"  {standing.line()}")


def log_to_stderr(level: str) -> None:
    """Plain lines; whoever runs us adds the time."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(levelname)-7s %(name)s: %(message)s")


def age(seconds: float) -> str:
    """4s, 12m, 3h, 5d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
