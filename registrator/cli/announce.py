"""registrator, also `hecd announce`: the announcer, put together from its drivers."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from registrator import __version__, config
from registrator.announce import tagtemplate, uri
from registrator.announce.conventions import Rules
from registrator.announce.drivers.docker import DockerSocket
from registrator.announce.layout import HecdLayout, Layout, RegistratorLayout
from registrator.announce.loop import Announcer, Settings
from registrator.announce.tagtemplate import TemplateFault
from registrator.cli import goflags, session
from registrator.cli.goflags import Flag, FlagFault, HelpAsked, Value
from registrator.config import Config, EtcdAccess
from registrator.errors import HecdError, RegistryUnavailable
from registrator.health.sockets import look
from registrator.model.names import NodeName
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.held import HeldLease

log = logging.getLogger(__name__)

RESYNC_S = 60
TTL_S = 30
SHORTEST_ATTEMPT_S = 1.0
FLAGS = {
    "cleanup": Flag(False, "Remove records of this host that no container and no announcer stands behind"),
    "compose": Flag(False, "Name services after Compose's labels; hecd:// does so anyway"),
    "deregister": Flag("always", 'Deregister exited services "always" or "on-success"'),
    "explicit": Flag(False, "Only register containers which have SERVICE_NAME set"),
    "hostname": Flag("", "Name of this host in records (default is the host's own)"),
    "internal": Flag(False, "Use the containers' own addresses and ports instead of published ones"),
    "ip": Flag("", "Address for ports published on the host"),
    "resync": Flag(0, "Seconds between two looks at everything (default 60; nothing is written if nothing changed)"),
    "retry-attempts": Flag(0, "How often to try again to reach the registry at the start; -1 for ever"),
    "retry-interval": Flag(2000, "Milliseconds between two attempts"),
    "tags": Flag("", "Comma-separated tags for all services; a Go template of the container"),
    "ttl": Flag(0, "Seconds that records outlive the announcer (default 30)"),
    "ttl-refresh": Flag(0, "Taken as registrator takes it, of no effect: nothing is refreshed"),
    "useIpFromLabel": Flag("", "Label of a container that holds the address to register"),
}


@dataclass(frozen=True)
class Options:
    """The command line, read."""

    registry: uri.Registry
    flags: dict[str, Value]

    def text(self, name: str) -> str:
        return str(self.flags[name])

    def number(self, name: str, default: int = 0) -> int:
        """The number given, `default` for none and for less."""
        return max(int(self.flags[name]), 0) or default

    def told(self, name: str) -> bool:
        return bool(self.flags[name])


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def announce(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Register the containers of this Docker or Podman host, as registrator does."""
    _announce(words, ctx.obj or {}, "hecd announce")


def main() -> None:
    """The console script `registrator`."""
    from registrator.cli import show_error

    if sys.argv[1:] == ["--version"]:
        print(f"registrator (HECD) {__version__}")
        return
    try:
        _announce(sys.argv[1:], {}, "registrator")
    except HecdError as err:
        show_error(err, "registrator")
        sys.exit(err.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _announce(words: Sequence[str], top: dict[str, Any], program: str) -> None:
    options = read_options(words, program)
    # Only HECD's records have a node, which must be a DNS label; in registrator's ids the host's name is as it is.
    node = options.text("hostname").partition(".")[0].lower() or top.get("node")
    top = {**top, "node": node if options.registry.scheme == "hecd" else "any"}
    settings = config.load(top, config.environment())
    session.log_to_stderr(settings.log_level)
    session.run(session.until_told(_run(options, settings)))


# -- the command line ---------------------------------------------------------------------------------------------


def read_options(words: Sequence[str], program: str) -> Options:
    """The options. Ends the process as Go's programs do where they can't be read. Raises HecdError."""
    how = f"Usage of {program}:\n  {program} [options] <registry URI>\n\n{goflags.usage(FLAGS)}"
    try:
        flags, rest = goflags.parse(words, FLAGS)
    except HelpAsked:
        click.echo(how, err=True)
        sys.exit(0)
    except FlagFault as err:
        click.echo(f"{err}\n{how}", err=True)
        sys.exit(2)
    if len(rest) != 1:
        fault = "Missing required argument for registry URI.\n"
        if rest:
            fault = f"Extra unparsed arguments:\n  {' '.join(rest[1:])}\nOptions come before the registry URI.\n"
        click.echo(f"{fault}\n{how}", err=True)
        sys.exit(2)
    _check(flags)
    options = Options(uri.parse(rest[0]), flags)
    if options.registry.scheme == "hecd" and options.text("ip"):
        _check_address(options.text("ip"))
    return options


def _check(flags: dict[str, Value]) -> None:
    ttl, refresh = int(flags["ttl"]), int(flags["ttl-refresh"])
    if (ttl > 0) != (refresh > 0):
        raise HecdError("-ttl and -ttl-refresh must be specified together or not at all")
    if 0 < ttl <= refresh:
        raise HecdError("-ttl must be greater than -ttl-refresh")
    if int(flags["retry-interval"]) <= 0:
        raise HecdError("-retry-interval must be greater than 0")
    if flags["deregister"] not in ("always", "on-success"):
        raise HecdError('-deregister must be "always" or "on-success"')
    _check_tags(str(flags["tags"]))


def _check_tags(text: str) -> None:
    try:
        tagtemplate.parse(text)
    except TemplateFault as err:
        raise HecdError(f"-tags: {err}", hint="docs/registrator.md lists what a template may say.") from err


def _check_address(ip: str) -> None:
    try:
        ipaddress.ip_address(ip)
    except ValueError as err:
        raise HecdError(f"-ip: {ip!r} is no address", hint="Load balancers need an address, not a name.") from err


# -- the parts ----------------------------------------------------------------------------------------------------


async def _run(options: Options, settings: Config) -> None:
    host = options.text("hostname") or socket.gethostname()
    layout = _layout(options.registry, host, settings)
    docker = DockerSocket(config.environment())
    behaviour = Settings(
        rules=_rules(options, host),
        keep_failed=options.text("deregister") == "on-success",
        cleanup=options.told("cleanup"),
        resync_s=float(options.number("resync", RESYNC_S)),
    )
    async with AsyncExitStack() as stack:
        store = await _connect(stack, options, _access(options.registry, settings), layout.prefix)
        ttl_s = options.number("ttl", TTL_S)
        held = HeldLease(store, ttl_s, _lease_file(settings.run, layout.prefix, docker.host, host, str(ttl_s)))
        await Announcer(store, docker, layout, held, look, behaviour).run()


def _layout(registry: uri.Registry, host: str, settings: Config) -> Layout:
    if registry.scheme == "hecd":
        return HecdLayout(NodeName(settings.node))
    return RegistratorLayout(registry.path, host)


def _rules(options: Options, host: str) -> Rules:
    return Rules(
        host=host,
        ip=options.text("ip"),
        host_address="" if options.text("ip") else _resolved(host),
        internal=options.told("internal"),
        explicit=options.told("explicit"),
        ip_label=options.text("useIpFromLabel"),
        tags=options.text("tags"),
        compose=options.told("compose") or options.registry.scheme == "hecd",
    )


def _resolved(host: str) -> str:
    """The address of the host's name, IPv4 if it has one; "" if it has none."""
    try:
        found = sorted((family, where[0]) for family, _, _, _, where in socket.getaddrinfo(host, None))
    except OSError:
        return ""
    address = str(found[0][1]) if found else ""
    if address and ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        log.warning("%s resolves to %s, which other hosts can't reach: give -ip", host, address)
    return address


async def _connect(stack: AsyncExitStack, options: Options, access: EtcdAccess, prefix: str) -> EtcdStore:
    """The store, tried as often as -retry-attempts says. Raises RegistryUnavailable, RegistryRefused."""
    attempts, attempt = int(options.flags["retry-attempts"]), 0
    within_s = max(options.number("retry-interval") / 1000, SHORTEST_ATTEMPT_S)
    while True:
        log.info("connecting to etcd at=%s attempt=%d of=%d", ",".join(access.endpoints), attempt, attempts)
        try:
            return await stack.enter_async_context(open_store(access, ready_within_s=within_s, prefix=prefix))
        except RegistryUnavailable:
            if attempt == attempts:
                raise
        attempt += 1


def _access(registry: uri.Registry, settings: Config) -> EtcdAccess:
    access = settings.access
    endpoints = registry.endpoints or access.endpoints
    return EtcdAccess(endpoints, access.tls, registry.user or access.user)


def _lease_file(run: Path, *what: str) -> Path:
    """One for each announcer: two on one host, of two Dockers or for two registries, must not share a lease."""
    return run / f"announce-{hashlib.sha256(' '.join(what).encode()).hexdigest()[:12]}.lease"
