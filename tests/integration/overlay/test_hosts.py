"""Three hosts with the runtime alone: who is reached, by which address, and what is lost while things change."""

from __future__ import annotations

import errno
import socket
import subprocess
from dataclasses import replace

import pytest

from runtime.errors import KernelRefused
from runtime.host import Host
from runtime.model import PublishedPort
from runtime.networks.nft import Nft
from tests.integration.overlay.conftest import Hosts, Rooted
from tests.integration.overlay.lab import OUTSIDE, Place, streaming
from tests.integration.runtime.conftest import becomes


def heard_from(server: Place, client: Place, address: str, port: int = 7000) -> str:
    """Whom the server sees when the client connects to it."""
    with server.listen(port) as listener, client.connect(address, port):
        connection, sender = listener.accept()
        connection.close()
    return str(sender[0])


def mtu(place: Place, link: str) -> int:
    return int(place.link(lambda ip: ip.get_links(ip.link_lookup(ifname=link)[0])[0].get("mtu")))


def test_containers_of_different_hosts_reach_one_another_by_their_own_addresses(hosts: Hosts) -> None:
    for here in hosts:
        for there in hosts:
            assert here.place().reaches(there.address), f"{here.machine.name} to {there.machine.name}"
            if here is not there:
                assert heard_from(there.place(), here.place(), there.address) == here.address


def test_a_host_reaches_every_container_as_its_load_balancer_does(hosts: Hosts) -> None:
    for here in hosts:
        for there in hosts:
            assert here.machine.reaches(there.address)
            assert heard_from(there.place(), here.machine, there.address) == here.machine.gateway


def test_outside_a_container_speaks_as_its_host_and_is_spoken_to_through_a_port(hosts: Hosts) -> None:
    one, switch = hosts[0], hosts.lab.switch
    assert heard_from(switch, one.place(), OUTSIDE) == one.machine.underlay
    one.start("open", ports=(PublishedPort(8080, 7000),))
    assert heard_from_port(one, switch) == OUTSIDE
    one.do(lambda host: host.containers.remove("open"))


def heard_from_port(one: Rooted, client: Place) -> str:
    with one.place("open").listen(7000) as listener, client.connect(one.machine.underlay, 8080):
        return str(listener.accept()[1][0])


def test_the_mtu_of_the_underlay_less_the_tunnel_is_that_of_bridge_cable_and_container(hosts: Hosts) -> None:
    one, two = hosts[0], hosts[1]
    assert mtu(one.machine, "hecd0") == mtu(one.machine, one.tunnel) == mtu(one.place(), "eth0") == 1450
    fits, sock = 1450 - 28, one.place().listen(7009, socket.SOCK_DGRAM)
    with sock, two.place().listen(7010, socket.SOCK_DGRAM) as server:
        sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: nothing is cut into pieces
        sock.sendto(bytes(fits), (two.address, 7010))
        assert len(server.recv(2000)) == fits
        with pytest.raises(OSError) as caught:
            sock.sendto(bytes(fits + 1), (two.address, 7010))
        assert caught.value.errno == errno.EMSGSIZE


def cables(one: Rooted) -> int:
    """How many hang on the bridge: the kernel takes that of an ended namespace away some time later."""
    index = one.machine.do(lambda: socket.if_nametoindex(one.machine.bridge))
    return int(one.machine.link(lambda ip: len(list(ip.get_links(master=index)))))


def test_another_mtu_of_the_underlay_is_found_and_passed_on(hosts: Hosts) -> None:
    one = hosts[0]
    becomes(lambda: cables(one) == 1, 10.0)
    hosts.lab.set_mtu(one.machine, 1400)
    assert "1 cables brought to an MTU of 1350" in one.join(hosts.peers_of(one))
    assert mtu(one.machine, "hecd0") == mtu(one.machine, one.tunnel) == mtu(one.place(), "eth0") == 1350
    hosts.lab.set_mtu(one.machine, 1500)
    one.join(hosts.peers_of(one))
    assert mtu(one.place(), "eth0") == 1450
    assert one.join(hosts.peers_of(one)) == []


def test_nothing_is_lost_between_others_while_a_peer_is_added_moved_and_removed(hosts: Hosts) -> None:
    one, two, three = hosts
    new = f"10.200.0.{100 + three.machine.number}"
    for host in (one, two):
        host.join([other.peer for other in (one, two) if other is not host])
    assert not one.place().reaches(three.address, within_s=0.3)
    with streaming(one.place(), two.place(), two.address) as stream:
        for host in (one, two):
            done = host.join(hosts.peers_of(host))
            assert len(done) == 3 and all(three.machine.subnet[:7] in line or three.underlay in line for line in done)
        assert one.place().reaches(three.address) and three.place().reaches(two.address)

        hosts.lab.give(three.machine, new)
        three.underlay = new
        assert three.join(hosts.peers_of(three)) == ["tunnel end changed: underlay 10.200.0.3, not 10.200.0.103"]
        for host in (one, two):
            assert host.join(hosts.peers_of(host))[0] == f"FDB entry {three.peer.mac} at {new}"
        assert one.place().reaches(three.address) and three.place().reaches(two.address)

        for host in (one, two):
            host.join([other.peer for other in (one, two) if other is not host])
        assert not one.place().reaches(three.address, within_s=0.3)
        three.underlay = three.machine.underlay
        hosts.join()
        assert one.place().reaches(three.address)
    assert stream.sent > 100
    assert stream.lost == 0


def test_what_somebody_deleted_comes_back_and_what_is_right_is_not_touched(hosts: Hosts) -> None:
    one, two = hosts[0], hosts[1]
    assert one.join(hosts.peers_of(one)) == []
    ours = f"dev {one.tunnel}"

    def nft(line: str) -> None:
        one.machine.do(lambda: Nft().run(line))

    for spoil in (
        f"ip route del {two.machine.subnet} {ours}",
        f"ip neigh del 10.87.2.0 {ours}",
        f"bridge fdb del {two.peer.mac} {ours}",
        f"bridge fdb append 00:00:00:00:00:00 dst 10.200.0.9 {ours}",
        f"bridge fdb replace {two.peer.mac} dst 10.200.0.9 self permanent {ours}",
        f"ip link set {one.tunnel} down",
        f"ip link set {one.tunnel} address 02:00:00:00:00:01",
        f"ip link del {one.tunnel}",
        "ip addr del 10.87.1.1/24 dev hecd0",
        f"nft delete table ip hecd_{one.paths.id}",
    ):
        if spoil.startswith("nft "):
            nft(spoil.removeprefix("nft "))
        else:
            shell(one.machine, spoil)
        one.join(hosts.peers_of(one))
        assert one.place().reaches(two.address), spoil
        assert heard_from(two.place(), one.place(), two.address) == one.address, spoil
        assert one.join(hosts.peers_of(one)) == [], spoil
    assert heard_from(hosts.lab.switch, one.place(), OUTSIDE) == one.machine.underlay, "masqueraded again"
    assert "00:00:00:00:00:00" not in shell(one.machine, f"bridge fdb show {ours}")


def test_a_tunnel_end_that_does_not_fit_is_said_and_made_anew(hosts: Hosts) -> None:
    one = hosts[0]
    said = one.join(hosts.peers_of(one), vni=99, port=4790)
    assert said[0] == "tunnel end made anew: vni 87, not 99, port 4789, not 4790"
    one.join(hosts.peers_of(one))
    assert one.place().reaches(hosts[1].address)


def test_a_tunnel_of_somebody_else_is_not_taken(hosts: Hosts) -> None:
    one = hosts[0]
    shell(one.machine, "ip link add other type vxlan id 99 dstport 4790")
    shell(one.machine, "ip link set other up")
    try:
        with pytest.raises(KernelRefused, match="VNI 99 at UDP port 4790 is another"):
            one.join([], vni=99, port=4790)
    finally:
        shell(one.machine, "ip link del other")
        one.join(hosts.peers_of(one))
    with pytest.raises(KernelRefused, match=r"10\.9\.9\.9 is no address of this host"):
        replace(one, underlay="10.9.9.9").join([])


def test_a_host_that_was_cut_off_is_back_when_its_cable_is(hosts: Hosts) -> None:
    one, two, three = hosts
    with streaming(one.place(), two.place(), two.address) as stream:
        hosts.lab.plug(three.machine, state="down")
        assert not one.place().reaches(three.address, within_s=0.3)
        hosts.lab.plug(three.machine, state="up")
        becomes(lambda: one.place().reaches(three.address, within_s=0.5))
        assert three.place().reaches(two.address)
    assert stream.lost == 0


def test_who_opens_the_root_next_knows_the_overlay(hosts: Hosts) -> None:
    one = hosts[0]
    again = one.machine.do(lambda: Host.open(one.paths.lib, one.paths.run))
    assert sorted(p.name for p in again.network.peers) == ["h2", "h3"]
    address = replace(one, host=again).start("later")
    assert mtu(one.place("later"), "eth0") == 1450
    becomes(lambda: hosts[1].place().reaches(address))
    one.do(lambda host: host.containers.remove("later"))
    one.machine.do(again.close)


def test_who_leaves_is_alone_and_as_before(hosts: Hosts) -> None:
    three = hosts[2]
    three.do(lambda host: host.network.leave())
    assert three.tunnel not in shell(three.machine, "ip link")
    assert mtu(three.machine, "hecd0") == mtu(three.place(), "eth0") == 1500
    assert not three.place().reaches(hosts[0].address, within_s=0.3)
    assert three.do(lambda host: host.network.peers) == ()
    three.join(hosts.peers_of(three))
    assert three.place().reaches(hosts[0].address)


def shell(place: Place, line: str) -> str:
    done = subprocess.run(place.command(*line.split()), capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout
