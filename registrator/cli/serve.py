"""hecd serve: containers that somebody else runs and that announce themselves, behind HECD's load balancers."""

from __future__ import annotations

import re
import time

import click

from registrator.cli import session
from registrator.model.names import LONGEST_SERVICE, ServiceName, is_label, is_service_name
from registrator.model.service import Check, Port, Traffic
from registrator.orders import give

_PORT = re.compile(r"(\d{1,5}):(\d{1,5})")


@click.command()
@click.argument("service")
@click.argument("ports", nargs=-1, required=True, metavar="PUBLISHED:TARGET...")
@click.option("--hostname", "hostnames", multiple=True, help="Serve requests for this host name only; may be repeated.")
@click.option("--mode", type=click.Choice(["http", "tcp"]), default="http", show_default=True, help="What is spoken.")
@click.option("--check-path", help="Where instances answer health checks; a connection is made if not given.")
@session.output_option
@click.pass_context
def serve(
    ctx: click.Context,
    service: str,
    ports: tuple[str, ...],
    hostnames: tuple[str, ...],
    mode: str,
    check_path: str | None,
    output: str,
) -> None:
    """Let the load balancers serve containers that announce themselves as SERVICE.

    As in `hecd serve web 80:8080 --hostname www.example.com`; TARGET is the port inside the containers. `hecd rm web`
    ends it.
    """
    if not is_service_name(service):
        raise click.UsageError(f"{service!r} is no DNS label of at most {LONGEST_SERVICE} characters")
    if hostnames and mode != "http":
        raise click.UsageError("--hostname needs --mode http: only there is a host name seen")
    for name in hostnames:
        if not all(is_label(part) for part in name.removeprefix("*.").split(".")):
            raise click.UsageError(f"{name!r} is no host name")
    if check_path is not None and not re.fullmatch(r"/[!-~]*", check_path):
        raise click.UsageError(f"{check_path!r} is no path")
    if len({word.partition(":")[0] for word in ports}) < len(ports):
        raise click.UsageError("a port is published twice")
    traffic = Traffic(tuple(_port(word, mode, hostnames) for word in ports), check=Check(check_path))
    session.run(_serve(ctx, ServiceName(service), traffic))
    session.print_object({"service": service, "ports": ports}, output, [f"{service}: served"])


async def _serve(ctx: click.Context, name: ServiceName, traffic: Traffic) -> None:
    async with session.registry(ctx) as (store, world):
        await give.serve(store, world, name, traffic, now=time.time(), who=session.who())


def _port(word: str, mode: str, hostnames: tuple[str, ...]) -> Port:
    found = _PORT.fullmatch(word)
    numbers = [int(number) for number in found.groups()] if found else [0]
    if not all(0 < number < 65536 for number in numbers):
        raise click.UsageError(f"{word!r} is not PUBLISHED:TARGET, as in 80:8080")
    return Port(numbers[0], numbers[1], mode, hostnames)
