"""registrator's conventions, held to what the original was recorded to make of containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registrator.announce import tags
from registrator.announce.container import read
from registrator.announce.conventions import Rules, Service, offer

RECORDED = json.loads((Path(__file__).parent / "cases" / "registrator.json").read_text())
HOST_ADDRESS = "192.168.1.102"

# Where we differ on purpose: what we say instead. The original paired the container's address with the host's port,
# which nobody can reach.
DIFFERENT = {"published-user-network-without-ip-flag": {"IP": HOST_ADDRESS}}


def rules(config: dict[str, Any]) -> Rules:
    return Rules(
        host="host1",
        ip=config.get("HostIp", ""),
        host_address=HOST_ADDRESS,
        internal=config.get("Internal", False),
        explicit=config.get("Explicit", False),
        ip_label=config.get("UseIpFromLabel", ""),
        tags=config.get("ForceTags", ""),
    )


def plain(service: Service) -> dict[str, Any]:
    return {
        "ID": service.id,
        "Name": service.name,
        "IP": service.ip,
        "Port": service.port,
        "Tags": list(service.tags),
        "Attrs": service.attributes,
        "TTL": 0,
    }


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["Id"])
def test_a_container_is_what_registrator_made_of_it(case: dict[str, Any]) -> None:
    others = {name: read(other) for name, other in (case["Others"] or {}).items()}
    container = read(case["Container"])
    found = offer(container, rules(case["Config"]), others.get(container.shared_network_of))
    expected = [{**service, **DIFFERENT.get(case["Id"], {})} for service in case["expected_services"]]
    by_id = sorted((plain(service) for service in found.services), key=lambda service: str(service["ID"]))
    assert by_id == sorted(expected, key=lambda service: str(service["ID"]))


def test_every_difference_is_one_of_the_recorded_cases() -> None:
    assert set(DIFFERENT) <= {case["Id"] for case in RECORDED["cases"]}


@pytest.mark.parametrize("text", RECORDED["tag_parser"])
def test_tags_are_cut_as_registrator_cut_them(text: str) -> None:
    assert sorted(tags.parse(text)) == sorted(RECORDED["tag_parser"][text])
