"""hecd-runtime run."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import click

from runtime.cli import session
from runtime.host import Host
from runtime.model import ContainerSpec, Limits, Mount, PublishedPort

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help="Print its name and let it run.")
@click.option("--rm", "remove", is_flag=True, help="Remove it once it has ended.")
@click.option("--name", help="Its name; one is made up if not given.")
@click.option(
    "-p",
    "--publish",
    multiple=True,
    metavar="[ADDRESS:]PORT:TARGET[/udp]",
    help="Lead a port or a range in.",
)
@click.option("-e", "--env", multiple=True, metavar="KEY[=VALUE]", help="An environment variable; without =, ours.")
@click.option("-v", "--volume", multiple=True, metavar="SOURCE:TARGET[:ro]", help="Mount a path of this host.")
@click.option("--tmpfs", multiple=True, metavar="TARGET[:SIZE]", help="Mount a file system in memory.")
@click.option("-l", "--label", multiple=True, metavar="KEY=VALUE", help="A note on the container.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Whom it runs as.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Where it starts.")
@click.option("--entrypoint", metavar="COMMAND", help="Instead of the image's; '' for none.")
@click.option("--hostname", default="", help="Its host name.")
@click.option("-m", "--memory", metavar="SIZE", help="At most so much memory, as 64m.")
@click.option("--cpus", type=click.FloatRange(0), default=0.0, help="At most so many processors.")
@click.option("--pids", type=click.IntRange(0), default=0, help="At most so many processes.")
@click.option("--read-only", is_flag=True, help="Its root file system cannot be written.")
@click.option("--stop-signal", default="", metavar="SIGNAL", help="What `stop` sends.")
@click.option("--no-init", is_flag=True, help="Its command is process 1 itself.")
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, /, detach: bool, remove: bool, **options: Any) -> None:
    """Make a container of IMAGE and run it; without -d, show what it writes and end with its exit code."""
    spec = _spec(options)
    with session.opened(ctx) as host:
        host.images.pull(spec.image)
        host.containers.create(spec)
        try:
            host.containers.start(spec.name)
        except BaseException:
            host.containers.remove(spec.name)
            raise
        if detach:
            click.echo(spec.name)
            return
        try:
            code = _attended(host, spec.name)
        finally:
            if remove:
                host.containers.remove(spec.name)
    ctx.exit(code)


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
    container = host.containers.inspect(name)
    if container.oom_killed:
        click.echo(f"{name} ran out of memory", err=True)
    return 1 if container.exit_code is None else container.exit_code


def _show(host: Host, name: str, tail: int | None = None) -> None:
    for line in host.inside.follow_logs(name, tail):
        print(line.text, file=sys.stderr if line.stream == "stderr" else sys.stdout, flush=True)


def _spec(o: dict[str, Any]) -> ContainerSpec:
    return ContainerSpec(
        name=o["name"] or f"{_word(o['image'])}-{secrets.token_hex(3)}",
        image=o["image"],
        entrypoint=None if o["entrypoint"] is None else tuple(shlex.split(o["entrypoint"])),
        command=o["command"] or None,
        environment=dict(_variable(text) for text in o["env"]),
        user=o["user"],
        working_dir=o["workdir"],
        read_only=o["read_only"],
        mounts=(*map(volume, o["volume"]), *map(tmpfs, o["tmpfs"])),
        limits=Limits(cpus=o["cpus"], memory_bytes=size_bytes(o["memory"]) if o["memory"] else 0, pids=o["pids"]),
        stop_signal=o["stop_signal"],
        labels=dict(text.partition("=")[::2] for text in o["label"]),
        hostname=o["hostname"],
        ports=tuple(port for text in o["publish"] for port in published(text)),
        init=not o["no_init"],
    )


def published(text: str) -> tuple[PublishedPort, ...]:
    """[ADDRESS:]PORT:TARGET[/PROTOCOL], where both ports may be ranges of one length: 8000-8009:80-89."""
    rest, _, protocol = text.partition("/")
    parts = rest.split(":")
    ends = [_range(part) for part in parts[-2:]]
    if len(parts) not in (2, 3) or not all(ends) or len(ends[0]) != len(ends[1]):
        raise click.UsageError(
            f"-p {text}: write [ADDRESS:]PORT:TARGET[/udp], as in -p 8080:80; both may be ranges, as in 80-89:80-89"
        )
    address = parts[0] if len(parts) == 3 else ""
    address = "" if address == "0.0.0.0" else address  # noqa: S104 - it is asked for
    return tuple(PublishedPort(here, there, protocol or "tcp", address) for here, there in zip(*ends, strict=True))


def _range(text: str) -> range:
    """80 or 80-89; empty where it is neither."""
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal()) or int(last) - int(first) > 65535:
        return range(0)
    return range(int(first), int(last) + 1)


def volume(text: str) -> Mount:
    """SOURCE:TARGET[:ro|rw]."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target or mode not in ("", "ro", "rw"):
        raise click.UsageError(f"-v {text}: write SOURCE:TARGET[:ro], as in -v /srv/data:/data:ro")
    return Mount("bind", target, source=str(Path(source).absolute()), read_only=mode == "ro")


def tmpfs(text: str) -> Mount:
    """TARGET[:SIZE]."""
    target, _, size = text.partition(":")
    return Mount("tmpfs", target, size_bytes=size_bytes(size) if size else 0)


def size_bytes(text: str) -> int:
    """64m, 1.5GiB, 1000000."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise click.UsageError(f"{text!r} is no size, as 64m or 1.5g is")
    return int(float(found[1]) * (1 << _UNITS[found[2].lower()]))


def _variable(text: str) -> tuple[str, str]:
    key, given, value = text.partition("=")
    return key, value if given else os.environ.get(key, "")


def _word(image: str) -> str:
    """The last word of an image's name, to make up a container's name."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return last if last[:1].isalnum() and image[:7] != "sha256:" else "container"
