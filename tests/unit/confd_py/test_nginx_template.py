"""templates/nginx: what records become, and that none can add a directive."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py.errors import ConfdError
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer
from tests.unit.confd_py.test_render import CASES, NAMES, port, record, service

SHIPPED = Path(__file__).parents[3] / "templates/nginx/templates"
GOLDEN = Path(__file__).parents[2] / "golden/nginx"


def rendered(values: dict[str, str], environ: dict[str, str] | None = None) -> str:
    return Renderer(SHIPPED, "nginx.conf.j2", "nginx", KeySpace(values), environ or {}).render()


@pytest.mark.parametrize("name", CASES)
def test_shipped_template_against_the_golden_file(name: str) -> None:
    """HECD_GOLDEN=write writes them anew; read the difference before it is committed."""
    text = rendered(CASES[name])
    golden = GOLDEN / f"{name}.conf"
    if os.environ.get("HECD_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


def servers(text: str) -> list[str]:
    return re.findall(r"^ +server (\S+) weight=", text, re.MULTILINE)


def test_only_instances_that_may_get_requests_are_servers() -> None:
    values = {
        "/services/web": service("web", port(8080)),
        "/instances/web/web.1": record("web", 1),
        "/instances/web/web.2": record("web", 2, state="draining"),
        "/instances/web/web.3": record("web", 3, health="unhealthy"),
        "/instances/web/web.4": record("web", 4, weight=0),
        "/instances/web/web.5": record("web", 5, state="stopping"),
    }
    assert servers(rendered(values)) == ["10.87.0.1:80"]
    del values["/instances/web/web.1"]
    assert servers(rendered(values)) == []
    assert "upstream web" not in rendered(values)
    assert 'return 503 "no instance of web serves now' in rendered(values)


def test_stream_is_there_only_for_tcp() -> None:
    web = {"/services/web": service("web", port(80))}
    assert "stream {" not in rendered(web)
    assert "load_module" not in rendered(web)
    tcp = {"/services/db": service("db", port(5432, "tcp")), "/instances/db/db.1": record("db", 1)}
    assert "load_module /usr/lib/nginx/modules/ngx_stream_module.so;" in rendered(tcp)
    assert "load_module" not in rendered(tcp, {"HECD_NGINX_STREAM_MODULE": "builtin"})
    assert "proxy_pass db.80;" in rendered(tcp)


def test_two_services_that_want_one_name_or_address_do_not_make_it_ambiguous() -> None:
    values = {
        "/services/a": service("a", port(80, hostnames=("x.example",))),
        "/services/b": service("b", port(80, hostnames=("X.example", "y.example"))),
        "/instances/a/a.1": record("a", 1),
        "/instances/b/b.1": record("b", 1),
    }
    text = rendered(values)
    assert re.findall(r"server_name (\S+);", text) == ["x.example", "y.example"]
    assert text.count("10.87.0.1:80 a.1;") == 1
    assert "10.87.0.1:80 b.1;" not in text


def test_a_port_speaks_one_mode() -> None:
    values = {
        "/services/a": service("a", port(80, "tcp")),
        "/services/b": service("b", port(80)),
        "/instances/a/a.1": record("a", 1),
        "/instances/b/b.1": record("b", 1),
    }
    assert re.findall(r"listen (\S+);", rendered(values)) == ["80"]


@given(name=NAMES, address=NAMES, mode=NAMES, host=NAMES, balance=NAMES, whose=NAMES, fall=st.integers())
def test_no_record_changes_the_shipped_configuration_beyond_its_place(
    name: str, address: str, mode: str, host: str, balance: str, whose: str, fall: int
) -> None:
    def text(host: str, balance: str, whose: str, name: str, address: str) -> str:
        traffic = {"ports": [{**port(8080), "mode": mode, "hostnames": [host]}], "balance": balance}
        values = {
            "/services/web": json.dumps({"service": whose, "traffic": {**traffic, "check": {"fall": fall}}}),
            f"/instances/{whose}/1": record("web", 1, instance=name, endpoints={"80": address}),
        }
        return rendered(values)

    try:
        found = text(host, balance, whose, name, address)
    except ConfdError:
        return
    model = text("h", "roundrobin", whose, "web.1", "1.1.1.1:80")

    def directives(lines: str) -> list[str]:
        words = [line.split()[0] for line in lines.splitlines() if line.strip()]
        kept = [word for word in words if word not in ("least_conn;", "random;", "hash", name, "web.1")]
        return [word for word in kept if word != address]

    assert [word for word in directives(found) if word != "1.1.1.1:80"] == [
        word for word in directives(model) if word != "1.1.1.1:80"
    ]
    assert len(servers(found)) == len(servers(model))
