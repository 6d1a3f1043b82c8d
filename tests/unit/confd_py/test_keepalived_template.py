"""templates/keepalived: when a node gives the shared address away, and how the others are reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

SHIPPED = Path(__file__).parents[3] / "templates/keepalived/templates"


def rendered(nodes: dict[str, str], drained: str = "", **environ: str) -> str:
    """For h1 with `nodes` (name -> role), of which `drained` ones are."""
    values = {f"/nodes/{name}": json.dumps({"node": name, "roles": [role]}) for name, role in nodes.items()}
    for name in drained.split():
        values[f"/availability/{name}"] = json.dumps({"node": name, "state": "drained"})
    values["/availability/h9"] = json.dumps({"node": "h9", "state": "cordoned"})
    surroundings = {"HECD_NODE": "h1", "HECD_VIP": "192.0.2.10", **environ}
    return Renderer(SHIPPED, "keepalived.conf.j2", "plain", KeySpace(values), surroundings).render()


@pytest.mark.parametrize(
    ("nodes", "drained", "gives_away"),
    [
        ({"h1": "edge", "h2": "edge"}, "", False),
        ({"h1": "edge", "h2": "edge"}, "h1", True),
        ({"h1": "edge", "h2": "edge"}, "h2", False),
        ({"h1": "edge", "h2": "edge"}, "h1 h2", False),
        ({"h1": "edge", "h2": "edge", "h3": "edge"}, "h1 h2", True),
        ({"h1": "edge", "h2": "worker"}, "h1", False),
        ({}, "h1", False),  # etcd knows nobody: doubt is no order
    ],
)
def test_only_a_drained_node_gives_the_address_away_and_only_to_another(
    nodes: dict[str, str], drained: str, gives_away: bool
) -> None:
    assert ('script "/bin/false"' in rendered(nodes, drained)) is gives_away


def test_peers_are_named_where_there_is_no_multicast() -> None:
    assert "unicast_peer" not in rendered({})
    text = rendered({}, HECD_VIP_PEERS="192.0.2.4 192.0.2.5", HECD_VIP_INTERFACE="ens3", HECD_VIP_ROUTER="7")
    assert text.split("unicast_peer {")[1].split("}")[0].split() == ["192.0.2.4", "192.0.2.5"]
    assert "interface ens3\n" in text
    assert "virtual_router_id 7\n" in text
