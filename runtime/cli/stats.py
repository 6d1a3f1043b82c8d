"""hecd-runtime stats."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict

import click

from runtime.cli import session
from runtime.errors import NotRunning
from runtime.host import Host
from runtime.model import Container, State, Usage

SHORT_S = 0.5  # over which the use of processors is measured for a single look
PACE_S = 1.0


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME…]", shell_complete=session.complete_names)
@click.option("--no-stream", is_flag=True, help="Look once.")
@click.option("--json", "as_json", is_flag=True, help="One line a look: a list with one object for each container.")
@click.pass_context
def stats(ctx: click.Context, names: tuple[str, ...], no_stream: bool, as_json: bool) -> None:
    """Show what containers use, all that run if none is named, each second until Ctrl-C."""
    with session.opened(ctx) as host:
        before, since = _usages(host, names), time.monotonic()
        while True:
            time.sleep(SHORT_S if no_stream else PACE_S)
            now, at = _usages(host, names), time.monotonic()
            shown = {name: (usage, _share(before.get(name), usage, at - since)) for name, usage in now.items()}
            _print(shown, as_json=as_json, clear=not (no_stream or as_json))
            if no_stream:
                return
            before, since = now, at


def _usages(host: Host, names: tuple[str, ...]) -> dict[str, Usage]:
    found = [host.containers.inspect(name) for name in names] if names else host.containers.list()
    if names and (ended := [c for c in found if c.state is not State.RUNNING]):
        raise NotRunning(ended[0].name, ended[0].state)
    return {c.name: usage for c in found if (usage := _usage(host, c)) is not None}


def _usage(host: Host, container: Container) -> Usage | None:
    return host.containers.usage(container.name) if container.state is State.RUNNING else None


def _share(before: Usage | None, now: Usage, span_s: float) -> float:
    """Per cent of one processor; 0 for a container that began meanwhile."""
    return max(0.0, now.cpu_s - before.cpu_s) / span_s * 100 if before else 0.0


def _print(shown: Mapping[str, tuple[Usage, float]], *, as_json: bool, clear: bool) -> None:
    if as_json:
        rows = [{"name": n, "cpu_percent": round(share, 2), **asdict(usage)} for n, (usage, share) in shown.items()]
        print(json.dumps(rows), flush=True)
        return
    if clear:
        click.clear()
    session.print_rows([_row(name, usage, share) for name, (usage, share) in shown.items()], [], "table")


def _row(name: str, usage: Usage, share: float) -> dict[str, str]:
    limit = f" / {session.size(usage.memory_limit_bytes)}" if usage.memory_limit_bytes else ""
    return {
        "name": name,
        "cpu": f"{share:.1f} %",
        "memory": f"{session.size(usage.memory_bytes)}{limit}",
        "net in / out": f"{session.size(usage.received_bytes)} / {session.size(usage.sent_bytes)}",
        "disk read / written": f"{session.size(usage.read_bytes)} / {session.size(usage.written_bytes)}",
        "pids": str(usage.pids),
    }
