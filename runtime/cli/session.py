"""What the commands share: the open host, and how results are printed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from runtime import entrance, keeper
from runtime.errors import NotPermitted
from runtime.host import LIB, RUN, Host, HostPaths, planned
from runtime.images import settings

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def opened(ctx: click.Context) -> Iterator[Host]:
    """The host that the flags of the top command name."""
    flags = ctx.find_root().obj
    engine, socket = flags["engine"] or "", flags["docker_socket"] or ""
    enter(ctx)
    lib, run = _directories(flags["root"])
    images = _settings(flags["images_config"])
    four, six = subnets(flags["subnet"])
    host = Host.open(lib, run, four, flags["bridge"], images, engine, socket, six)
    try:
        yield host
    finally:
        host.close()


def enter(ctx: click.Context) -> None:
    """Be root, an ordinary user in namespaces of their own: there the command goes on, in a child. Raises NotPermitted,
    MissingProgram."""
    flags = ctx.find_root().obj
    if os.geteuid() == 0:
        return
    if (flags["engine"] or "oci") != "oci" or flags["docker_socket"]:
        hint = "With our own engine, oci, it works without root, too."
        raise NotPermitted("containers of Docker and Podman get their network from root only", hint=hint)
    home = os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    flags["root"] = str(Path(flags["root"] or Path(home, "hecd")).absolute())  # inside, one is root
    entrance.enter(keeper.ensure(HostPaths(*_directories(flags["root"]))))


def place(ctx: click.Context) -> tuple[HostPaths, str]:
    """Where the root lies, and its bridge, without opening it: nothing is swept. Raises InvalidSpec."""
    flags = ctx.find_root().obj
    paths = HostPaths(*(path.absolute() for path in _directories(flags["root"])))
    four, six = subnets(flags["subnet"])
    return paths, planned(paths, four, flags["bridge"], six).name


def subnets(given: Sequence[str]) -> tuple[str | None, str | None]:
    """The IPv4 and the IPv6 subnet, "" for no IPv6, None for what is not said. Raises BadParameter."""
    six = ["" if text == "none" else text for text in given if text == "none" or ":" in text]
    four = [text for text in given if text != "none" and ":" not in text]
    if len(four) > 1 or len(six) > 1:
        raise click.BadParameter("give one IPv4 subnet, and one IPv6 subnet or none", param_hint="--subnet")
    return next(iter(four), None), next(iter(six), None)


def _directories(root: str | None) -> tuple[Path, Path]:
    return (Path(root, "lib/runtime"), Path(root, "run/runtime")) if root else (LIB, RUN)


def _settings(given: str | None) -> Path:
    if given and not Path(given).is_file():
        raise click.BadParameter(f"there is no file {given!r}", param_hint="--images-config")
    return Path(given) if given else settings.FILE


def output_option(command: F) -> F:
    """-o table | json, on every command that prints."""
    kinds = click.Choice(["table", "json"])
    return click.option("-o", "--output", type=kinds, default="table", show_default=True, help="How to print.")(command)


def print_rows(rows: Sequence[Mapping[str, str]], whole: Sequence[Any], output: str) -> None:
    """`rows` as a table, or the dataclasses `whole` as JSON."""
    if output == "json":
        print_json([asdict(item) for item in whole])
        return
    if not rows:
        return
    columns = list(rows[0])
    widths = {c: max(len(c), *(len(row[c]) for row in rows)) for c in columns}
    for row in [{c: c.upper() for c in columns}, *rows]:
        click.echo("  ".join(row[c].ljust(widths[c]) for c in columns).rstrip())


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of containers, for the shell."""
    with opened(ctx) as host:
        return [c.name for c in host.containers.list() if c.name.startswith(incomplete)]


def ago(seconds: float) -> str:
    """A span of time as people say it."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {unit}"
    return f"{max(0, int(seconds))} s"


def size(count_bytes: float) -> str:
    """A number of bytes as people say it."""
    units = ("KiB", "MiB", "GiB", "TiB")
    if count_bytes < 1024:
        return f"{count_bytes:.0f} B"
    power = min(int(math.log(count_bytes, 1024)), len(units))
    return f"{count_bytes / 1024**power:.1f} {units[power - 1]}"
