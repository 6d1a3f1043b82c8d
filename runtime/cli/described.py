"""A container as the words of a command line describe it: the options of `run` and `create`."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from runtime.cli.numbers import Finite
from runtime.model import ContainerSpec, Device, Limits, LogLimits, MemoryFile, Mount, PublishedPort, Restart, Ulimit

F = TypeVar("F", bound=Callable[..., Any])
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_OPTIONS = (
    click.option("--name", help="Its name; one is made up if not given."),
    click.option(
        "-p",
        "--publish",
        multiple=True,
        metavar="[ADDRESS:]PORT:TARGET[/udp]",
        help="Lead a port or a range in.",
    ),
    click.option("-e", "--env", multiple=True, metavar="KEY[=VALUE]", help="An environment variable; without =, ours."),
    click.option("-v", "--volume", multiple=True, metavar="[SOURCE:]TARGET[:ro]", help="Mount a path, or a volume."),
    click.option("--tmpfs", multiple=True, metavar="TARGET[:SIZE]", help="Mount a file system in memory."),
    click.option("-l", "--label", multiple=True, metavar="KEY=VALUE", help="A note on the container."),
    click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Whom it runs as."),
    click.option("-w", "--workdir", default="", metavar="DIR", help="Where it starts."),
    click.option("--entrypoint", metavar="COMMAND", help="Instead of the image's; '' for none."),
    click.option("--hostname", default="", help="Its host name."),
    click.option("-m", "--memory", metavar="SIZE", help="At most so much memory, as 64m."),
    click.option("--cpus", type=Finite(), default=0.0, help="At most so many processors."),
    click.option("--pids", type=click.IntRange(0), default=0, help="At most so many processes."),
    click.option("--read-only", is_flag=True, help="Its root file system cannot be written."),
    click.option("--stop-signal", default="", metavar="SIGNAL", help="What `stop` sends."),
    click.option("--no-init", is_flag=True, help="Its command is process 1 itself."),
    click.option("--restart", default="no", metavar="POLICY", help="no, on-failure[:N], always or unless-stopped."),
    click.option("-t", "--tty", is_flag=True, help="Give it a terminal."),
    click.option("-i", "--interactive", "stdin_open", is_flag=True, help="Pass our stdin on to it."),
    click.option("--ulimit", multiple=True, metavar="NAME=SOFT[:HARD]", help="A resource limit, as nofile=1024:4096."),
    click.option("--sysctl", multiple=True, metavar="KEY=VALUE", help="A setting of its own network or IPC."),
    click.option("--group-add", multiple=True, metavar="GROUP", help="A further group of its user."),
    click.option("--add-host", multiple=True, metavar="NAME:ADDRESS", help="A name it knows; host-gateway is us."),
    click.option("--dns", multiple=True, metavar="ADDRESS", help="A name server, instead of the host's."),
    click.option("--dns-search", multiple=True, metavar="DOMAIN", help="Where names are looked for."),
    click.option("--dns-option", multiple=True, metavar="OPTION", help="As in resolv.conf."),
    click.option(
        "--secret", multiple=True, metavar="FILE[:TARGET]", help="A file in memory, by default in /run/secrets."
    ),
    click.option("--config", multiple=True, metavar="FILE:TARGET", help="The same, for a configuration file."),
    click.option("--cap-add", multiple=True, metavar="CAP", help="A capability more."),
    click.option("--cap-drop", multiple=True, metavar="CAP", help="One less, or ALL."),
    click.option(
        "--device",
        multiple=True,
        metavar="PATH[:TARGET][:rwm]",
        help="A device of the host, where /etc/hecd/runtime.toml allows it.",
    ),
    click.option("--privileged", is_flag=True, help="All power of root, where /etc/hecd/runtime.toml allows it."),
    click.option(
        "--userns",
        type=click.Choice(["host"]),
        help="Its ids are the host's, where /etc/hecd/runtime.toml remaps those of others and allows it.",
    ),
    click.option(
        "--security-opt",
        multiple=True,
        metavar="KEY=VALUE",
        help="no-new-privileges=BOOL (true), seccomp=FILE or unconfined.",
    ),
    click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="max-size (64m) and max-file (1)."),
)


def options(command: F) -> F:
    """All that describes a container, but for its image and its command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def spec_of(o: Mapping[str, Any]) -> ContainerSpec:
    """The container that the options describe. Raises UsageError."""
    return ContainerSpec(
        name=o["name"] or f"{_word(o['image'])}-{secrets.token_hex(3)}",
        image=o["image"],
        entrypoint=None if o["entrypoint"] is None else tuple(shlex.split(o["entrypoint"])),
        command=o["command"] or None,
        environment=variables(o["env"]),
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
        restart=restart(o["restart"]),
        ulimits=tuple(map(ulimit, o["ulimit"])),
        sysctls=dict(_pair("--sysctl", text) for text in o["sysctl"]),
        group_add=o["group_add"],
        extra_hosts=dict(map(extra_host, o["add_host"])),
        dns=o["dns"],
        dns_search=o["dns_search"],
        dns_options=o["dns_option"],
        files=tuple(memory_file(kind, text) for kind in ("secret", "config") for text in o[kind]),
        cap_add=o["cap_add"],
        cap_drop=o["cap_drop"],
        devices=tuple(map(device, o["device"])),
        privileged=o["privileged"],
        userns=o["userns"] or "",
        **security(o["security_opt"]),
        tty=o["tty"],
        stdin_open=o["stdin_open"],
        log=log_limits(o["log_opt"]),
    )


def published(text: str) -> tuple[PublishedPort, ...]:
    """[ADDRESS:]PORT:TARGET[/PROTOCOL], where both ports may be ranges of one length: 8000-8009:80-89. An IPv6 address
    stands in brackets."""
    rest, _, protocol = text.partition("/")
    six, bracket, rest = rest.rpartition("]:") if rest.startswith("[") else ("", "", rest)
    parts = [*([six[1:]] if bracket else []), *rest.split(":")]
    ends = [_range(part) for part in parts[-2:]]
    if len(parts) not in (2, 3) or not all(ends) or len(ends[0]) != len(ends[1]):
        raise click.UsageError(
            f"-p {text}: write [ADDRESS:]PORT:TARGET[/udp], as in -p 8080:80; both may be ranges, as in 80-89:80-89"
        )
    address = parts[0] if len(parts) == 3 else ""
    address = "" if address in ("0.0.0.0", "::") else address  # noqa: S104 - it is asked for
    return tuple(PublishedPort(here, there, protocol or "tcp", address) for here, there in zip(*ends, strict=True))


def _range(text: str) -> range:
    """80 or 80-89; empty where it is neither."""
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal()) or int(last) - int(first) > 65535:
        return range(0)
    return range(int(first), int(last) + 1)


def volume(text: str) -> Mount:
    """SOURCE:TARGET[:ro|rw], or TARGET, which gets a volume of the container's own."""
    if text.startswith("/") and ":" not in text:
        return Mount("volume", text)
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not target or mode not in ("", "ro", "rw"):
        raise click.UsageError(f"-v {text}: write SOURCE:TARGET[:ro], as in -v /srv/data:/data:ro or -v data:/data")
    if "/" not in source and source not in (".", "..", "~"):  # as in Docker, a bare word is a volume
        return Mount("volume", target, source=source, read_only=mode == "ro")
    return Mount("bind", target, source=str(Path(source).expanduser().absolute()), read_only=mode == "ro")


def tmpfs(text: str) -> Mount:
    """TARGET[:SIZE]."""
    target, _, size = text.partition(":")
    return Mount("tmpfs", target, size_bytes=size_bytes(size) if size else 0)


def device(text: str) -> Device:
    """PATH[:TARGET][:ACCESS]."""
    path, *rest = text.split(":")
    target = rest.pop(0) if rest and rest[0].startswith("/") else ""
    if len(rest) > 1:
        raise click.UsageError(f"--device {text}: write PATH[:TARGET][:rwm], as in --device /dev/fuse")
    return Device(path, target, *rest)


def restart(text: str) -> Restart:
    """no, on-failure[:N], always, unless-stopped."""
    policy, colon, most = text.partition(":")
    if colon and not most.isdecimal():
        raise click.UsageError(f"--restart {text}: write on-failure:5, where 5 is how often")
    return Restart(policy, int(most or 0))


def ulimit(text: str) -> Ulimit:
    """NAME=SOFT[:HARD]; -1 is no limit."""
    found = re.fullmatch(r"([a-z]+)=(-1|\d+)(?::(-1|\d+))?", text)
    if not found:
        raise click.UsageError(f"--ulimit {text}: write NAME=SOFT[:HARD], as in --ulimit nofile=1024:4096")
    return Ulimit(found[1], int(found[2]), int(found[3] or found[2]))


def extra_host(text: str) -> tuple[str, str]:
    """NAME:ADDRESS, or NAME=ADDRESS."""
    found = re.fullmatch(r"([^:=]+)[:=](.+)", text)
    if not found:
        raise click.UsageError(f"--add-host {text}: write NAME:ADDRESS, as in --add-host db:10.0.0.9")
    return found[1], found[2].strip("[]")


def variables(texts: Sequence[str]) -> dict[str, str]:
    """Of KEY=VALUE, and of KEY, which has the value that it has here; one that is not set here is left out."""
    found = {key: value if given else os.environ.get(key) for key, given, value in (t.partition("=") for t in texts)}
    return {key: value for key, value in found.items() if value is not None}


def memory_file(kind: str, text: str) -> MemoryFile:
    """FILE[:TARGET]."""
    source, _, target = text.partition(":")
    if kind == "config" and not target:
        raise click.UsageError(f"--config {text}: write FILE:TARGET, as in --config ./app.conf:/etc/app.conf")
    path = Path(source).expanduser().absolute()
    return MemoryFile(target or f"/run/secrets/{path.name}", source=str(path))


def security(texts: Sequence[str]) -> dict[str, Any]:
    """`no_new_privileges` and `seccomp`, of no-new-privileges[=BOOL] and seccomp=FILE|unconfined."""
    chosen: dict[str, Any] = {}
    for text in texts:
        key, value, *_ = [*re.split("[=:]", text, maxsplit=1), ""]
        if key == "no-new-privileges" and value in ("", "true", "false"):
            chosen["no_new_privileges"] = value != "false"
        elif key == "seccomp" and value:
            chosen["seccomp"] = value if value == "unconfined" else str(Path(value).expanduser().absolute())
        else:
            raise click.UsageError(
                f"--security-opt {text}: no-new-privileges=true or =false, and seccomp=FILE or =unconfined are known"
            )
    return chosen


def log_limits(texts: Sequence[str]) -> LogLimits:
    """max-size=SIZE, max-file=N."""
    limits = LogLimits()
    for key, value in (_pair("--log-opt", text) for text in texts):
        if key == "max-size":
            limits = replace(limits, max_size_bytes=size_bytes(value))
        elif key == "max-file" and value.isdecimal():
            limits = replace(limits, max_files=int(value))
        else:
            raise click.UsageError(f"--log-opt {key}={value}: max-size=SIZE and max-file=N are known")
    return limits


def size_bytes(text: str) -> int:
    """64m, 1.5GiB, 1000000."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise click.UsageError(f"{text!r} is no size, as 64m or 1.5g is")
    return int(float(found[1]) * (1 << _UNITS[found[2].lower()]))


def _pair(option: str, text: str) -> tuple[str, str]:
    key, given, value = text.partition("=")
    if not given or not key:
        raise click.UsageError(f"{option} {text}: write KEY=VALUE")
    return key, value


def _word(image: str) -> str:
    """The last word of an image's name, to make up a container's name."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return last if last[:1].isalnum() and image[:7] != "sha256:" else "container"
