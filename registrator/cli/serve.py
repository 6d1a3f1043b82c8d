"""hecd serve: containers that somebody else runs and that announce themselves, behind HECD's load balancers."""

from __future__ import annotations

import time

import click

from registrator.cli import session
from registrator.model.names import LONGEST_SERVICE, ServiceName, is_service_name
from registrator.model.traffic import Tls, Traffic
from registrator.orders import give
from registrator.spec.words import traffic_of_words


@click.command()
@click.argument("service")
@click.argument("ports", nargs=-1, required=True, metavar="PUBLISHED:TARGET...")
@click.option("--host", "--hostname", "hosts", multiple=True, help="Serve this host name only; may be repeated.")
@click.option("--path", "paths", multiple=True, help="Serve this path and all below it only; may be repeated.")
@click.option("--strip-path", is_flag=True, help="Containers see what follows the path.")
@click.option("--tls", is_flag=True, help="Port 443 speaks TLS, and the others send clients there.")
@click.option("--tls-port", type=click.IntRange(1, 65535), help="The published port that does, if not 443.")
@click.option("--mode", type=click.Choice(["http", "tcp"]), default="http", show_default=True, help="What is spoken.")
@click.option("--check-path", help="Where instances answer health checks; a connection is made if not given.")
@session.output_option
@click.pass_context
def serve(
    ctx: click.Context,
    service: str,
    ports: tuple[str, ...],
    hosts: tuple[str, ...],
    paths: tuple[str, ...],
    strip_path: bool,
    tls: bool,
    tls_port: int | None,
    mode: str,
    check_path: str | None,
    output: str,
) -> None:
    """Let the load balancers serve containers that announce themselves as SERVICE.

    TARGET is the port inside the containers. `hecd rm web` ends it.

    \b
    hecd serve web 80:8080 443:8080 --host www.example.com --tls
    hecd serve api 80:9000 --host www.example.com --path /api --strip-path
    """
    if not is_service_name(service):
        raise click.UsageError(f"{service!r} is no DNS label of at most {LONGEST_SERVICE} characters")
    secure = tls_port or (Tls().port if tls else 0)
    traffic, faults = traffic_of_words(
        service,
        ports,
        hosts=hosts,
        paths=paths,
        strip_path=strip_path,
        mode=mode,
        check_path=check_path,
        tls_port=secure,
    )
    if faults:
        raise click.UsageError("\n".join(faults).replace("tls.port", "--tls-port"))
    session.run(_serve(ctx, ServiceName(service), traffic))
    session.print_object({"service": service, "ports": ports}, output, [f"{service}: served"])


async def _serve(ctx: click.Context, name: ServiceName, traffic: Traffic) -> None:
    async with session.registry(ctx) as (store, world):
        await give.serve(store, world, name, traffic, now=time.time(), who=session.who())
