"""hecd agent: the agent of a node, put together from its drivers."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import click

from registrator import __version__
from registrator.agent.announcer import Announcer
from registrator.agent.claim import claim, keep, remembered
from registrator.agent.drivers.answers import AnswerLog
from registrator.agent.drivers.haproxy import HaproxyBalancer
from registrator.agent.drivers.probes import Probes
from registrator.agent.drivers.runtime import NoOverlay, RuntimeEngine, RuntimeTunnel, addresses_of_others, open_host
from registrator.agent.edge import EdgeReporter
from registrator.agent.loop import Agent
from registrator.agent.naming import Naming
from registrator.agent.overlay import Overlay
from registrator.agent.runner import Runner
from registrator.cli import session
from registrator.config import ASKED_FOR, ENGINES, Config
from registrator.errors import EngineAway, EngineFault
from registrator.model.hook import FEATURE
from registrator.model.names import NodeName
from registrator.model.node import Capacity, Node
from registrator.registry.etcd import EtcdStore, open_store
from registrator.registry.trust import Trust
from registrator.up.programs import haproxy_config, haproxy_run

log = logging.getLogger(__name__)


@click.command()
@click.option("--roles", help="Comma-separated: worker, edge, etcd, control.")
@click.option("--address", help="The address other nodes reach this one at.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="Who runs the containers: oci (crun) unless a socket is given."
)
@click.option("--docker-socket", metavar="PATH", help="Docker's or Podman's, where it is not in the usual place.")
@click.pass_context
def agent(ctx: click.Context, /, **flags: Any) -> None:
    """Run the agent of this node: it runs, probes and announces what the node is assigned."""
    ctx.obj = {**(ctx.obj or {}), **flags}
    config = session.settings(ctx)
    session.log_to_stderr(config.log_level)
    session.run(session.until_told(_agent(config)))


async def _agent(config: Config) -> None:
    async with open_store(config.access, wait=False) as store:
        subnet = await _subnet(store, config)
        engine = await _engine(config, subnet)
        tunnel = await asyncio.to_thread(_tunnel, config, engine)
        vtep = tunnel.vtep if tunnel else None
        labels = dict(label.split("=", 1) for label in config.labels)
        node = Node(
            NodeName(config.node),
            config.roles,
            config.address,
            subnet,
            _capacity(config),
            version=__version__,
            labels=labels,
            vtep=vtep,
            features=(FEATURE,),
        )
        voice = Announcer(store, node, config.run / "agent.lease", config.lease_ttl)
        trust = Trust(config.lib / "agent.trust")
        worker = Agent(store, engine, Probes(engine.exec_probe), voice, trust)
        naming = Naming(store, engine, trust)
        try:
            await naming.begin()
            async with asyncio.TaskGroup() as group:
                group.create_task(worker.run())
                group.create_task(keep(store, node.node, subnet))
                group.create_task(naming.run())
                group.create_task(Runner(store, engine, engine, node.node, trust).run())
                if tunnel is not None:
                    group.create_task(Overlay(store, tunnel, node, trust).run())
                if "edge" in config.roles:
                    group.create_task(_reporter(config, store, node).run(lambda: voice.lease))
        finally:
            engine.close()


async def _engine(config: Config, subnet: str) -> RuntimeEngine:
    """The engine of this node, once it answers."""
    where = (config.lib, config.run, subnet, config.bridge, config.engine, config.docker_socket)
    while True:
        try:
            return RuntimeEngine(await asyncio.to_thread(open_host, *where), config.node)
        except EngineAway as err:
            log.warning("engine away reason=%s hint=%s", err.brief, err.hint)
            await asyncio.sleep(err.retry_after_s)


async def _subnet(store: EtcdStore, config: Config) -> str:
    """The subnet this node has; claimed first where it has none, for which etcd is needed."""
    file = config.lib / "subnet"
    if (known := remembered(file)) is not None and not store.connected:
        return known
    await store.ready()
    others = await asyncio.to_thread(addresses_of_others, config.lib, config.run, config.bridge)
    return await claim(store, NodeName(config.node), config.subnet_pool, file, others)


def _tunnel(config: Config, engine: RuntimeEngine) -> RuntimeTunnel | None:
    """The overlay, where this node is to take part in one; its peers of before are reached at once.

    Raises NoOverlay where it was asked for and the kernel has none.
    """
    if not config.tunnel_address:
        engine.leave()
        return None
    tunnel = engine.tunnel(
        config.tunnel_address,
        config.subnet_pool,
        config.vni,
        config.tunnel_port,
        encrypted=config.overlay == "wireguard",
    )
    try:
        tunnel.apply(tunnel.peers())
    except NoOverlay as err:
        if config.overlay in ASKED_FOR:
            raise
        log.warning("no overlay reason=%s hint=%s", err.brief, err.hint)
        return None
    except EngineFault as err:  # it may be that the network is not up yet: Overlay tries again
        log.warning("overlay not ready reason=%s hint=%s", err.brief, err.hint)
    return tunnel


def _reporter(config: Config, store: EtcdStore, node: Node) -> EdgeReporter:
    applied = haproxy_config(config).with_suffix(".cfg.applied")
    balancer = HaproxyBalancer(haproxy_run(config) / "admin.sock", applied)
    return EdgeReporter(store, balancer, AnswerLog(haproxy_run(config) / "log.sock"), node.node)


def _capacity(config: Config) -> Capacity:
    memory_bytes = config.memory_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(config.cpus or float(os.cpu_count() or 1), memory_bytes, config.instances)
