"""Where the conventions go beyond what the original was recorded to do, or away from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from registrator.announce.conventions import Offer, Rules, offer
from tests.unit.announce.documents import container

RULES = Rules(host="host1", host_address="192.168.1.102")
INTERNAL = replace(RULES, internal=True)
ANY = [{"HostIp": "0.0.0.0", "HostPort": "8080"}]


def endpoints(found: Offer) -> list[str]:
    return [f"{service.ip} {service.port}" for service in found.services]


@pytest.mark.parametrize(
    ("ip", "expected"), [("0.0.0.0", "192.168.1.102"), ("::", "192.168.1.102"), ("", "192.168.1.102"), ("::1", "::1")]
)
def test_a_port_published_everywhere_is_at_the_hosts_address(ip: str, expected: str) -> None:
    found = offer(container(ports={"80/tcp": [{"HostIp": ip, "HostPort": "8080"}]}), RULES)
    assert endpoints(found) == [f"{expected} 8080"]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"networks": {"bridge": "172.17.0.5"}}, "172.17.0.5 80"),
        ({"networks": {"b": "10.0.2.2", "a": "10.0.1.2"}, "mode": "b"}, "10.0.2.2 80"),
        ({"networks": {"b": "10.0.2.2", "a": "10.0.1.2"}, "mode": "0123456789ab"}, "10.0.1.2 80"),
        ({"networks": {"host": ""}, "mode": "host", "ports": {}, "exposed": ("80/tcp",)}, "192.168.1.102 80"),
    ],
)
def test_inside_addresses(facts: dict[str, Any], expected: str) -> None:
    assert endpoints(offer(container(**facts), INTERNAL)) == [expected]


def test_one_without_any_address_is_a_fault_and_not_a_service() -> None:
    found = offer(container(), replace(RULES, host_address=""))
    assert found.services == () and "give -ip" in found.warnings[0]
    found = offer(container(networks={}), INTERNAL)
    assert found.services == () and found.warnings


def test_one_without_a_network_offers_nothing() -> None:
    found = offer(container(mode="none", ports={}, exposed=("80/tcp",)), RULES)
    assert found == Offer(notes=("it has no network",))


def test_one_in_the_network_of_another_is_at_its_address_also_on_a_network_of_its_own() -> None:
    pod = container("pod", networks={"shop": "10.0.1.9"}, mode="shop")
    app = container("app", mode=f"container:{pod.id}", ports={}, exposed=("80/tcp",), networks={})
    assert app.shared_network_of == pod.id
    assert endpoints(offer(app, replace(RULES, ip="1.2.3.4"), pod)) == ["10.0.1.9 80"]
    host = container("pod", networks={"host": ""}, mode="host")
    assert endpoints(offer(app, RULES, host)) == ["192.168.1.102 80"]


def test_composes_name_comes_before_the_images_where_it_is_asked_for() -> None:
    labels = {"com.docker.compose.service": "shop", "com.docker.compose.project": "p"}
    composed = container(labels=labels)
    compose = replace(RULES, compose=True)
    assert [s.name for s in offer(composed, RULES).services] == ["web"]
    assert [s.name for s in offer(composed, compose).services] == ["shop"]
    assert [s.name for s in offer(container(labels=labels, env=("SERVICE_NAME=x",)), compose).services] == ["x"]
    one_off = container(labels={**labels, "com.docker.compose.oneoff": "True"})
    assert offer(one_off, compose).services == ()
    assert len(offer(one_off, RULES).services) == 1


def test_explicit_takes_a_name_of_a_port() -> None:
    explicit = replace(RULES, explicit=True)
    two = {"80/tcp": ANY, "443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8443"}]}
    found = offer(container(ports=two, env=("SERVICE_443_NAME=tls",)), explicit)
    assert [s.name for s in found.services] == ["tls"]
    assert found.notes == ("port 80: it has no SERVICE_NAME, and -explicit asks for one",)


def test_a_label_that_holds_no_address_is_passed_on_for_the_layout_to_refuse() -> None:
    found = offer(container(labels={"ip": "10.9.9.9/24"}), replace(RULES, ip_label="ip"))
    assert endpoints(found) == ["10.9.9.9 8080"]


def test_labels_win_over_the_environment_for_ports_too() -> None:
    said = container(env=("SERVICE_80_NAME=env", "SERVICE_NAME=all"), labels={"SERVICE_80_NAME": "label"})
    assert [s.name for s in offer(said, RULES).services] == ["label"]


def test_forced_tags_come_after_its_own() -> None:
    found = offer(container(env=("SERVICE_TAGS=a",)), replace(RULES, tags="x,y\\,z"))
    assert found.services[0].tags == ("a", "y,z", "x")


def test_an_inspection_full_of_nulls_is_a_container() -> None:
    from registrator.announce.container import Container, read

    nulls = {"Config": None, "NetworkSettings": None, "State": None, "HostConfig": None, "Name": None, "Id": "x"}
    assert read(nulls) == Container(id="x", name="", image="", network_mode="")
    assert offer(read(nulls), RULES).services == ()
