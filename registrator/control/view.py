"""One service as the decider sees it: wanted, assigned, announced, sorted once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from registrator.model.hold import Hold
from registrator.model.hook import Result, Run
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, backend_name, instance_number
from registrator.model.node import Edge
from registrator.model.release import Release
from registrator.model.rollout import Rollout
from registrator.model.service import Service
from registrator.model.steering import Steering
from registrator.registry.acknowledgement import admitted
from registrator.registry.world import World


@dataclass(frozen=True)
class ServiceView:
    """The part of a world that concerns one service. `lost` are nodes that are away for longer than is waited for."""

    service: Service
    rollout: Rollout | None
    assignments: tuple[Assignment, ...]
    instances: dict[InstanceName, Instance]
    edges: tuple[Edge, ...]
    lost: Collection[NodeName]
    admitted: frozenset[InstanceName]
    known_releases: frozenset[int]
    leaving: Mapping[InstanceName, str] = field(default_factory=dict)  # must not stay where they are -> why
    steering: Steering | None = None
    holds: Mapping[str, Hold] = field(default_factory=dict)  # by owner
    release: Release | None = None  # the wanted one
    runs: Mapping[str, Run] = field(default_factory=dict)  # of hooks
    results: Mapping[str, Result] = field(default_factory=dict)  # of these runs
    nodes: Collection[NodeName] = ()  # that are alive

    @classmethod
    def of(
        cls,
        world: World,
        service: Service,
        lost: Collection[NodeName] = (),
        leaving: Mapping[InstanceName, str] | None = None,
    ) -> ServiceView:
        """Pick what belongs to `service` out of `world`."""
        instances = {i.instance: i for i in world.of_service(service.service)}
        edges = tuple(world.edges.values())
        holds = {owner: hold for (name, owner), hold in world.holds.items() if name == service.service}
        rollout = world.rollouts.get(service.service)
        aside, held = _aside(rollout), bool(holds)
        ready = frozenset(
            name
            for name, instance in instances.items()
            if admitted(instance, service.traffic, edges, held=held or instance.release in aside)
        )
        assignments = tuple(sorted(world.assigned(service.service), key=lambda a: instance_number(a.instance)))
        releases = frozenset(number for name, number in world.releases if name == service.service)
        wish = world.steering.get(service.service)
        release = world.releases.get((service.service, service.release))
        runs = world.runs_of(service.service)
        told = ((run, world.results.get(run.run)) for run in runs.values())
        results = {run.run: result for run, result in told if result and result.ordered_at == run.ordered_at}
        return cls(
            *(service, rollout, assignments, instances, edges, lost, ready, releases, leaving or {}, wish, holds),
            *(release, runs, results, world.nodes.keys()),
        )

    @cached_property
    def live(self) -> tuple[Assignment, ...]:
        """Assignments that are to go on running."""
        return tuple(a for a in self.assignments if not a.drain and a.node not in self.lost)

    @cached_property
    def backends(self) -> list[str]:
        """The backends of the service, one for each port that its instances serve on."""
        targets = dict.fromkeys(port.target for port in self.service.traffic.ports)
        return [backend_name(self.service.service, target) for target in targets]

    @cached_property
    def orders(self) -> dict[InstanceName, Assignment]:
        """All assignments, by instance."""
        return {a.instance: a for a in self.assignments}

    @cached_property
    def unclaimed(self) -> tuple[Instance, ...]:
        """Announced instances that no assignment names: their order was lost, they were not."""
        named = {a.instance for a in self.assignments}
        return tuple(i for name, i in self.instances.items() if name not in named)

    @cached_property
    def here(self) -> frozenset[str]:
        """The releases that have instances, or are about to have some."""
        announced = {str(i.release) for i in self.instances.values()}
        return frozenset(announced | {str(a.release) for a in self.assignments})

    @cached_property
    def draining(self) -> tuple[Assignment, ...]:
        """Assignments that were told to finish and have not yet gone."""
        return tuple(a for a in self.assignments if a.drain)

    def of_target(self, target: ReleaseNumber) -> list[Assignment]:
        """Those that are as they should be: of the wanted release, on a node where they may stay."""
        return [a for a in self.live if a.release == target and a.instance not in self.leaving]

    def ready(self, assignment: Assignment) -> bool:
        """Whether it serves on every edge; or could, where it is to get no requests."""
        return assignment.instance in self.admitted

    def broken(self, assignment: Assignment) -> bool:
        """Whether its instance counts as a failure."""
        instance = self.instances.get(assignment.instance)
        return instance is not None and instance.broken

    def failing(self, assignment: Assignment) -> bool:
        """Whether its instance is broken, or is started again after it was and does not serve yet."""
        instance = self.instances.get(assignment.instance)
        return instance is not None and instance.failing


def _aside(rollout: Rollout | None) -> frozenset[int]:
    """The releases that are to be warm and get no requests."""
    if rollout is None or rollout.switch is None:
        return frozenset()
    return frozenset(int(release) for release, weight in rollout.weights.items() if weight == 0)
