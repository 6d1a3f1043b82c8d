"""hecd ps, services, nodes, status: what is, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

import click

from registrator.cli import session
from registrator.control.view import ServiceView
from registrator.errors import RegistryUnavailable
from registrator.model.names import instance_number
from registrator.model.traffic import Port, Traffic
from registrator.orders import certificates, follow, known
from registrator.registry.trust import Trust
from registrator.registry.world import World

FAILING_SHOWN = 3  # of each service


@click.command()
@click.argument("services", nargs=-1)
@session.output_option
@click.pass_context
def ps(ctx: click.Context, services: tuple[str, ...], output: str) -> None:
    """List the instances, of all services or of those named."""
    session.run(_ps(ctx, services, output))


async def _ps(ctx: click.Context, services: tuple[str, ...], output: str) -> None:
    async with session.registry(ctx) as (_, world):
        known.need(services, known.services(world), "service")
    rows = []
    for i in sorted(world.instances.values(), key=lambda i: (i.service, instance_number(i.instance))):
        if not services or i.service in services:
            where = ", ".join(i.endpoints.values())
            since = session.age(time.time() - i.changed_at)
            rows.append({**asdict(i), "endpoint": where, "since": since})
    columns = ("instance", "release", "node", "state", "health", "endpoint", "restarts", "since", "reason")
    nothing = "nothing runs; `hecd deploy -f compose.yaml` changes that"
    if services:
        nothing = f"nothing of {', '.join(services)} runs; `hecd status` tells what is wanted"
    session.print_rows(rows, columns, output, nothing)


@click.command()
@session.output_option
@click.pass_context
def services(ctx: click.Context, output: str) -> None:
    """List the services with their releases, replicas and ports."""
    session.run(_services(ctx, output))


async def _services(ctx: click.Context, output: str) -> None:
    async with session.registry(ctx) as (_, world):
        pass
    rows = []
    for service in sorted(world.services.values(), key=lambda s: s.service):
        now = follow.standing(world, service.service)
        assert now is not None
        release = world.releases.get((service.service, now.release))
        rows.append(
            {
                **asdict(service),
                "release": now.release,
                "serving": f"{now.ready}/{now.replicas}",
                "state": now.state,
                "ports": " ".join(_port(p, service.traffic) for p in service.traffic.ports),
                "image": "(announced)" if service.foreign else release.settings.image if release else "?",
            }
        )
    columns = ("service", "release", "serving", "state", "ports", "image")
    session.print_rows(rows, columns, output, "there are no services; `hecd deploy -f compose.yaml` makes some")


def _port(port: Port, traffic: Traffic) -> str:
    tls = traffic.tls is not None and traffic.tls.port == port.published
    routed = ",".join([*port.hostnames, *port.paths])
    return f"{port.published}->{port.target}/{'https' if tls else port.mode}{f'({routed})' if routed else ''}"


@click.command()
@session.output_option
@click.pass_context
def nodes(ctx: click.Context, output: str) -> None:
    """List the nodes that are alive, and what they carry."""
    session.run(_nodes(ctx, output))


async def _nodes(ctx: click.Context, output: str) -> None:
    async with session.registry(ctx) as (_, world):
        pass
    rows = []
    for node in sorted(world.nodes.values(), key=lambda n: n.node):
        count = sum(i.node == node.node for i in world.instances.values())
        edge = world.edges.get(node.node)
        rows.append(
            {
                **asdict(node),
                "roles": ",".join(node.roles),
                "instances": count,
                "state": world.availability[node.node].state if node.node in world.availability else "active",
                "labels": ",".join(f"{k}={v}" for k, v in node.labels.items()),
                "reloads": edge.reloads if edge else "",
                "up": session.age(time.time() - node.joined_at),
            }
        )
    columns = ("node", "roles", "state", "address", "labels", "instances", "reloads", "up")
    session.print_rows(rows, columns, output, "no node has joined; `hecd up` or `hecd agent` starts one")


@click.command()
@session.output_option
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Tell how everything is. Ends with code 1 when something needs a person."""
    faults, summary = session.run(_status(ctx))
    lines = [*(f"  {line}" for line in summary), *(f"! {fault}" for fault in faults)]
    session.print_object({"summary": summary, "faults": faults}, output, lines)
    if faults:
        ctx.exit(1)


async def _status(ctx: click.Context) -> tuple[list[str], list[str]]:
    config = session.settings(ctx)
    try:
        async with session.registry(ctx) as (_, world):
            pass
    except RegistryUnavailable as err:
        return [f"{err.brief}: traffic goes on as it is, nothing can be changed. {err.hint}"], []
    doubts = {Trust(config.lib / f"{who}.trust").judge(world, 0.0, save=False) for who in ("agent", "control")}
    faults = [
        f"{doubt}: agents keep everything running. Check that the data is right, then "
        "`hecd restore` (the last known orders) or `hecd deploy` (a compose file)."
        for doubt in doubts
        if doubt
    ]
    return [*faults, *_faults(world)], _summary(world)


def _summary(world: World) -> list[str]:
    serving = sum(i.serving for i in world.instances.values())
    standings = [now for name in sorted(world.services) if (now := follow.standing(world, name)) is not None]
    lines = [
        f"etcd      revision {world.revision}",
        f"leader    {world.leader or 'none'}",
        f"nodes     {len(world.nodes)} alive, {len(world.edges)} with a load balancer",
        f"instances {serving} serving, {sum(now.replicas for now in standings)} wanted",
    ]
    lines += [now.line() for now in standings]
    unserved = sorted({i.service for i in world.instances.values() if i.foreign} - set(world.services))
    return lines + [f"{name} is announced and not served: `hecd serve {name} PUBLISHED:TARGET`" for name in unserved]


def _faults(world: World) -> Iterator[str]:
    if not world.nodes:
        yield "no node is alive: start one with `hecd up` or `hecd agent`"
    if world.leader is None and world.demotions:
        yield f"no control loop leads, and {', '.join(sorted(world.demotions))} may not: `hecd promote` lets one"
    elif world.leader is None:
        yield "no control loop leads: nothing is placed or rolled out; start one with `hecd up` or `hecd control`"
    for key, fault in world.faults.items():
        yield f"the record {key} can't be read: {fault}"
    for edge in world.edges.values():
        if edge.error:
            yield f"load balancer on {edge.node}: {edge.error}"
        if edge.doubt:
            yield f"load balancer on {edge.node}: {edge.doubt}"
    yield from certificates.troubles(world, time.time())
    lost = sorted({i.service for i in world.instances.values() if not i.foreign} - set(world.services))
    for name in lost:
        count = sum(1 for _ in world.of_service(name))
        yield f"{count} instances of {name} run that nobody ordered: `hecd deploy`, `hecd restore` or `hecd rm {name}`"
    for hold in world.holds.values():
        told = "requests wait" if hold.kind == "wait" else "answers 503"
        yield f"{hold.service}: {told}, by {hold.by}{': ' if hold.message else ''}{hold.message}"
    for service in world.services.values():
        view = ServiceView.of(world, service)
        if view.rollout is not None and view.rollout.reason:
            yield f"{service.service}: {view.rollout.reason}"
        failing = [a for a in view.live if view.failing(a)]
        for a in failing[:FAILING_SHOWN]:
            told = f"`hecd logs {a.instance}` there shows what it wrote"
            yield f"{a.instance} on {a.node}: {view.instances[a.instance].trouble}; {told}"
        if (more := len(failing) - FAILING_SHOWN) > 0:
            yield f"{service.service}: {more} more fail; `hecd ps {service.service}` lists them"
