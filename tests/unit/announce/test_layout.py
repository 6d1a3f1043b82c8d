"""Records, and who wrote them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from registrator.announce.conventions import Rules, offer
from registrator.announce.layout import HecdLayout, Layout, Page, RegistratorLayout
from registrator.announce.presence import Announced, Presence
from registrator.model.names import NodeName
from registrator.registry.store import Raw
from tests.unit.announce.documents import container

RULES = Rules(host="host1", ip="10.0.0.1")
PLAIN, HECD = RegistratorLayout("/services", "host1"), HecdLayout(NodeName("host1"))
HEALTHY, DRAINING = Presence("running", "healthy"), Presence("draining", "healthy", "it was sent SIGTERM")
ABSENT, TWO = Presence("absent", "unknown", "why"), {
    "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
    "443/tcp": [{"HostIp": "", "HostPort": "8443"}],
}  # fmt: skip


def announced(presence: Presence = HEALTHY, rules: Rules = RULES, **facts: Any) -> list[Announced]:
    made = container(**facts)
    return [Announced(service, made, presence) for service in offer(made, rules).services]


def values(page: Page) -> dict[str, bytes | None]:
    return {key: wanted.value for key, wanted in page.records.items()}


def stored(page: Page, now: float = 0.0) -> dict[str, Raw]:
    return {key: Raw(value, 1, 1, 7) for key, value in values(page).items() if value is not None}


@pytest.mark.parametrize(
    ("presence", "value"),
    [(HEALTHY, b"10.0.0.1:8080"), (DRAINING, None), (ABSENT, None), (Presence("exited", "unknown"), b"10.0.0.1:8080"),
     (Presence("running", "unhealthy"), None)],
)  # fmt: skip
def test_registrators_key_is_there_while_it_serves(presence: Presence, value: bytes | None) -> None:
    assert values(PLAIN.page(announced(presence), {}, 0.0)) == {"/services/web/host1:web.0:80": value}


def test_registrators_key_of_an_ipv6_address_has_brackets() -> None:
    page = PLAIN.page(announced(rules=replace(RULES, ip="2001:db8::1")), {}, 0.0)
    assert list(values(page).values()) == [b"[2001:db8::1]:8080"]


def test_of_two_containers_with_one_id_the_younger_that_serves_has_the_key() -> None:
    old = announced(DRAINING, name="old", env=("SERVICE_ID=x",))
    young = announced(name="young", env=("SERVICE_ID=x",))
    for both in ([*old, *young], [*young, *old]):
        assert values(PLAIN.page(both, {}, 0.0)) == {"/services/web/x": b"10.0.0.1:8080"}


@pytest.mark.parametrize(
    "env",
    ["SERVICE_NAME=a b", "SERVICE_NAME=a\nb", "SERVICE_NAME=../x", "SERVICE_NAME=a//b", "SERVICE_ID=x;y",
     "SERVICE_ID=x/../y", "SERVICE_NAME={{x}}", "SERVICE_NAME=é"],
)  # fmt: skip
@pytest.mark.parametrize("layout", [PLAIN, HECD])
def test_names_that_would_break_a_configuration_are_refused(layout: Layout, env: str) -> None:
    page = layout.page(announced(env=(env,)), {}, 0.0)
    if env.startswith("SERVICE_ID") and layout is HECD:
        assert len(page.records) == 1  # HECD makes its own ids
    else:
        assert not page.records and len(page.faults) == 1


def test_an_address_that_is_none_is_refused() -> None:
    rules = replace(RULES, ip_label="ip")
    for layout in (PLAIN, HECD):
        page = layout.page(announced(rules=rules, labels={"ip": "1.2.3.4 evil"}), {}, 0.0)
        assert not page.records and "is no address" in page.faults[0]


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"image": "My_Team/My_App:1"}, "my-app"),
        ({"image": "redis@sha256:00"}, "redis"),
        ({"env": ("SERVICE_NAME=shop",)}, "shop"),
        ({"env": ("SERVICE_NAME=My_Shop",)}, None),
        ({"env": (f"SERVICE_NAME={'x' * 53}",)}, None),
    ],
)
def test_names_in_hecds_records_are_labels(facts: dict[str, Any], name: str | None) -> None:
    page = HECD.page(announced(**facts), {}, 0.0)
    assert [key.split("/")[3] for key in page.records] == ([name] if name else [])
    assert bool(page.faults) == (name is None)


def test_hecds_record() -> None:
    env = ("SERVICE_NAME=shop", "SERVICE_TAGS=a", "SERVICE_REGION=eu", "SERVICE_CHECK_HTTP=/ok")
    page = HECD.page(announced(env=env), {}, 5.0)
    ((key, value),) = values(page).items()
    record = json.loads(value or b"")
    assert key == f"/hecd/instances/shop/{record['instance']}"
    assert record["instance"] == "shop.host1-7765622e3000"
    assert (record["release"], record["node"], record["state"], record["health"]) == (0, "host1", "running", "healthy")
    assert record["endpoints"] == {"80": "10.0.0.1:8080"}
    assert (record["check_path"], record["tags"], record["changed_at"]) == ("/ok", ["a"], 5.0)
    assert record["attributes"] == {"container": "web.0", "region": "eu", "check_http": "/ok"}


def test_ports_under_one_name_are_one_instance() -> None:
    env = ("SERVICE_80_NAME=shop", "SERVICE_443_NAME=shop", "SERVICE_443_TAGS=tls")
    ((_, value),) = values(HECD.page(announced(ports=TWO, env=env), {}, 0.0)).items()
    record = json.loads(value or b"")
    assert record["endpoints"] == {"80": "10.0.0.1:8080", "443": "10.0.0.1:8443"} and record["tags"] == ["tls"]
    first, second = announced(ports=TWO, env=env)
    sick = replace(second, presence=Presence("running", "unhealthy", "port 443"))
    for both in ([first, sick], [sick, first]):
        ((_, value),) = values(HECD.page(both, {}, 0.0)).items()
        assert json.loads(value or b"")["health"] == "unhealthy"


def test_udp_is_not_for_hecds_load_balancers() -> None:
    page = HECD.page(announced(ports={"53/udp": [{"HostIp": "", "HostPort": "53"}]}), {}, 0.0)
    assert not page.records and "53/udp" in page.faults[0]


def test_an_unchanged_record_is_the_same_to_the_letter() -> None:
    before = stored(HECD.page(announced(), {}, 1.0))
    assert values(HECD.page(announced(), before, 2.0)) == {key: raw.value for key, raw in before.items()}
    ((_, drained),) = values(HECD.page(announced(DRAINING), before, 2.0)).items()
    assert json.loads(drained or b"")["changed_at"] == 2.0


@pytest.mark.parametrize("layout", [PLAIN, HECD])
def test_a_layout_knows_its_own(layout: Layout) -> None:
    for key, raw in stored(layout.page(announced(), {}, 0.0)).items():
        assert layout.mine(key, raw)
        assert layout.mine(key, replace(raw, lease=0))


def test_a_layout_knows_what_is_not_its_own() -> None:
    for key in ("/services/web/host2:web.0:80", "/services/web/custom", "/services/web/host1:x", "/services/web/7"):
        assert not PLAIN.mine(key, Raw(b"x", 1, 1))
    ((key, raw),) = stored(HECD.page(announced(), {}, 0.0)).items()
    record = json.loads(raw.value)
    others: list[dict[str, object]] = [{"node": "host2"}, {"release": 1}, {"instance": "web.7"}, {"service": "other"}]
    for change in others:
        assert not HECD.mine(key, replace(raw, value=json.dumps({**record, **change}).encode()))
    assert not HECD.mine(key, replace(raw, value=b"junk"))


def test_a_mark_of_an_earlier_announcer_is_found_for_the_same_run_only() -> None:
    drained = stored(HECD.page(announced(DRAINING), {}, container().started_at + 1))
    assert HECD.ending(container(), drained) == "it was sent SIGTERM"
    assert HECD.ending(container(StartedAt="2026-01-02T00:00:00Z"), drained) == ""
    assert HECD.ending(container("other"), drained) == ""
    assert HECD.ending(container(), stored(HECD.page(announced(), {}, 2e9))) == ""
    assert PLAIN.ending(container(), drained) == ""
