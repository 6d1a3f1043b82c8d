"""Three hosts whose containers are run by Docker, by crun and by Podman: they reach each other all the same."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from runtime.host import Host
from runtime.model import PublishedPort
from tests.fakes.podman_service import PodmanService
from tests.integration.announce.dockerd import Dockerd
from tests.integration.overlay.conftest import Hosts, Rooted, emptied
from tests.integration.overlay.lab import OUTSIDE, Machine, Place, built
from tests.integration.overlay.test_hosts import heard_from, heard_from_port, mtu


def iptables(place: Place, *words: str) -> str:
    return subprocess.run(place.command("iptables", "-w", *words), check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Hosts]:
    """Docker on h1, crun on h2, Podman on h3, each with a container `web`."""
    with ExitStack() as stack:
        lab = stack.enter_context(built(tmp_path_factory.mktemp("lab")))
        dockerd, podman = Dockerd(), PodmanService()
        stack.callback(podman.stop)
        stack.callback(dockerd.stop)
        lab.hosts[0].do(dockerd.start)
        iptables(lab.hosts[0], "-P", "FORWARD", "DROP")  # as Docker does where nobody forwarded before
        lab.hosts[2].do(podman.start)
        sockets = {"docker": f"{dockerd.folder}/docker.sock", "oci": "", "podman": str(podman.socket)}
        found = Hosts()
        found.lab = lab
        for machine, (engine, socket) in zip(lab.hosts, sockets.items(), strict=True):
            host = Rooted(machine, machine.do(partial(_opened, machine, engine, socket)), machine.underlay)
            stack.callback(host.do, emptied)
            host.do(lambda opened: opened.images.load(layout))
            host.address = host.start("web")
            found.append(host)
        found.join()
        yield found


def _opened(machine: Machine, engine: str, socket: str) -> Host:
    root = machine.root
    return Host.open(root / "lib", root / "run", machine.subnet, machine.bridge, engine=engine, socket=socket)


def test_containers_of_all_engines_reach_each_other_by_their_own_addresses(mixed: Hosts) -> None:
    for here in mixed:
        for there in mixed:
            if here is not there:
                assert here.place().reaches(there.address), (here.machine.name, there.machine.name)
                assert heard_from(there.place(), here.place(), there.address) == here.address, "nothing is translated"


def test_each_host_reaches_all_containers(mixed: Hosts) -> None:
    for here in mixed:
        for there in mixed:
            assert here.machine.reaches(there.address), (here.machine.name, there.machine.name)


def test_two_containers_of_one_host_reach_each_other(mixed: Hosts) -> None:
    for here in mixed:
        here.start("other")
        assert here.place("other").reaches(here.address), here.machine.name
        here.do(lambda host: host.containers.remove("other"))


def test_cables_fit_the_tunnel(mixed: Hosts) -> None:
    for here in mixed:
        assert mtu(here.place(), "eth0") == 1450


def test_outside_they_speak_as_their_host_and_are_spoken_to_through_a_port(mixed: Hosts) -> None:
    for here in mixed:
        assert heard_from(mixed.lab.switch, here.place(), OUTSIDE) == here.machine.underlay
        here.start("open", ports=(PublishedPort(8080, 7000),))
        assert heard_from_port(here, mixed.lab.switch) == OUTSIDE
        here.do(lambda host: host.containers.remove("open"))


def test_dockers_firewall_is_told_once_and_told_again_when_nothing_is_left(mixed: Hosts) -> None:
    one = mixed[0]
    other = one.machine.do(lambda: Host.open(one.paths.lib, one.paths.run))
    one.machine.do(other.close)
    told = [line for line in iptables(one.machine, "-S", "DOCKER-USER").splitlines() if "hecd0" in line]
    assert sorted(told) == ["-A DOCKER-USER -i hecd0 -j ACCEPT", "-A DOCKER-USER -o hecd0 -j ACCEPT"]
    one.do(emptied)
    assert "hecd0" not in iptables(one.machine, "-S", "DOCKER-USER")
    one.machine.do(lambda: Host.open(one.paths.lib, one.paths.run)).close()
