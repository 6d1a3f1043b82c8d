"""Which addresses the name of a service stands for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from registrator.model.instance import Instance
from registrator.registry.world import World

Names = Mapping[str, tuple[str, ...]]


def decide(world: World, known: Names, *, doubted: bool) -> Names:
    """The addresses of the instances that serve, by service; no address where none does. Those of a release that is to
    get no requests are left out where there are others.

    A service that is wanted, or may be while etcd's word is `doubted`, and has no record at all left, lost its records,
    not its instances: the addresses `known` so far stand on.
    """
    found: dict[str, set[str]] = {str(service): set() for service in world.services}
    aside: dict[str, set[str]] = {}
    recorded = set()
    for instance in world.instances.values():
        recorded.add(str(instance.service))
        if instance.serving:
            hosts = {endpoint.rpartition(":")[0] for endpoint in instance.endpoints.values()}
            (aside if _is_aside(world, instance) else found).setdefault(instance.service, set()).update(hosts)
    for service, hosts in aside.items():
        found[service] = found.get(service) or hosts
    lost = {name for name in known if name not in recorded and (doubted or name in world.services)}
    return {name: known[name] for name in lost} | {
        name: tuple(sorted(hosts)) for name, hosts in found.items() if name not in lost
    }


def paired(names: Names, twins: Mapping[str, str]) -> Names:
    """The same with IPv6 addresses, for names of which every address has one in `twins`: were it some only, those would
    get all the traffic of who prefers IPv6."""
    return {
        name: (*found, *(twins[host] for host in found)) if twins.keys() >= set(found) else found
        for name, found in names.items()
    }


def unpaired(names: Names) -> Names:
    """The same with IPv4 addresses alone."""
    return {name: tuple(host for host in found if ":" not in host) for name, found in names.items()}


def _is_aside(world: World, instance: Instance) -> bool:
    rollout = world.rollouts.get(instance.service)
    return rollout is not None and rollout.weights.get(str(instance.release)) == 0
