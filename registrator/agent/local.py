"""This host's containers and images, for commands typed on it: the same runtime root as its agent's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registrator.agent.claim import free, remembered
from registrator.agent.drivers.runtime import Local, open_host
from registrator.config import Config


@contextmanager
def opened(config: Config) -> Iterator[Local]:
    """The host of `config`. Raises EngineFault when something it needs is missing."""
    subnet = remembered(config.lib / "subnet") or free(config.subnet_pool, ())
    engine, socket = config.engine, config.docker_socket
    local = Local(open_host(config.lib, config.run, subnet, config.bridge, engine, socket))
    try:
        yield local
    finally:
        local.close()
