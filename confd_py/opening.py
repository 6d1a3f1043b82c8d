"""Which store the settings mean, and where its nodes are."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from confd_py.config import Config
from confd_py.errors import ConfigFault
from confd_py.store import Store

_log = logging.getLogger("confd-py")
_LAST_PORT = 65535
_ADDRESS = re.compile(r"(?:https?://)?(?:\[[\w:.%]+\]|[^\s:/\[\]]+)(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_DNS_TIMEOUT_S = 5.0
_LOCAL = {"etcd": "127.0.0.1:2379", "etcdv3": "127.0.0.1:2379", "redis": "127.0.0.1:6379"}


def open_store(config: Config, environ: Mapping[str, str]) -> Store:
    """The store that the configuration names; its library is imported only now. Raises ConfigFault."""
    if config.mock:
        from confd_py.stores.file import FileStore

        return FileStore([config.mock])
    if config.backend == "env":
        from confd_py.stores.env import EnvStore

        return EnvStore(environ)
    if config.backend == "file":
        from confd_py.stores.file import FileStore

        return FileStore(config.file, config.filter)
    nodes = _nodes(config, environ)
    if config.backend == "redis":
        from confd_py.stores.redis import RedisStore

        return RedisStore(nodes, password=config.password or config.client_key, separator=config.separator)
    from confd_py.stores.etcd import EtcdStore

    pair = (config.client_cert, config.client_key)
    files = (config.client_ca_keys, *(pair if all(pair) else ("", "")))  # as confd: half a pair counts for nothing
    secure = any(files)
    user = (config.username, config.password) if config.username else None
    for node in nodes:
        found = _ADDRESS.fullmatch(node)
        if found is None or int(found[1] or 0) > _LAST_PORT:
            raise ConfigFault(f"-node {node!r} is no address of etcd", hint="host:port, or https://host:port.")
    endpoints = [node if "://" in node else f"{'https' if secure else 'http'}://{node}" for node in nodes]
    if config.client_insecure:
        _log.warning("client-insecure: etcd's certificate is not verified")
    return EtcdStore(endpoints, tls=files if secure else None, user=user, verify=not config.client_insecure)


def _nodes(config: Config, environ: Mapping[str, str]) -> list[str]:
    record = config.srv_record
    if config.srv_domain and not record:
        record = f"_{config.backend}._tcp.{config.srv_domain}."
    if record:
        nodes = _srv_nodes(record)
        return [f"{config.scheme}://{node}" for node in nodes] if config.backend in ("etcd", "etcdv3") else nodes
    if config.node:
        return list(config.node)
    peers = environ.get("ETCDCTL_PEERS", "") if config.backend == "etcd" else ""
    return [peer for peer in peers.split(",") if peer] or [_LOCAL.get(config.backend, _LOCAL["etcd"])]


def _srv_nodes(record: str) -> list[str]:
    """host:port of each target of an SRV record. Raises ConfigFault."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(record, "SRV", lifetime=_DNS_TIMEOUT_S)
    except dns.exception.DNSException as err:
        fault = f"Cannot get nodes from SRV records {record}: {err}"
        raise ConfigFault(fault, hint="Check -srv-domain and -srv-record, or name the nodes with -node.") from err
    return [f"{str(each.target).rstrip('.')}:{each.port}" for each in sorted(answer, key=lambda r: r.priority)]
