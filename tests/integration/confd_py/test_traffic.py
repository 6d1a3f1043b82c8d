"""What x-hecd says of traffic, on a HAProxy that confd-py configures from etcd."""

from __future__ import annotations

import hashlib

import pytest

from tests.integration.confd_py.apps import apps, ask
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import within


def port(ring: Ring, published: int = 0, **changes: object) -> dict[str, object]:
    return {"published": published or ring.port, "target": 80, "mode": "http", "hostnames": [], **changes}


def serving(ring: Ring, *names: str) -> None:
    """Wait until all these instances get requests."""
    for name in names:
        backend = f"{name.rpartition('.')[0]}.80"
        within(5, f"{name} serves", lambda b=backend, n=name: n in ring.haproxy.serving(b))


@pytest.mark.parametrize("ports", [False, True], ids=["paths alone", "behind a host name"])
def test_the_longest_path_wins_and_is_stripped_once(ring: Ring, ports: bool) -> None:
    hosts = ["h.example"] if ports else []
    ring.service("api", ports=[port(ring, hostnames=hosts, paths=["/api", "/b"], strip_path=True)])
    ring.service("deep", ports=[port(ring, hostnames=hosts, paths=["/api/v2"])])
    ring.service("web", ports=[port(ring, hostnames=hosts)])
    ring.service("other", ports=[port(ring, hostnames=["*.example"], paths=["/api/v2/x"])])
    names = ("api.1", "deep.1", "web.1", "other.1")
    with apps(ring, *names):
        serving(ring, *names)
        for path, service, seen in (
            ("/api", "api.1", "/"),
            ("/api?q=/api/v2", "api.1", "/?q=/api/v2"),
            ("/api/x%20y?q=1", "api.1", "/x%20y?q=1"),
            ("/api/b/api/c", "api.1", "/b/api/c"),
            ("/b/x", "api.1", "/x"),
            ("/api/v2", "deep.1", "/api/v2"),
            ("/api/v2/y?q", "deep.1", "/api/v2/y?q"),
            ("/api/v20", "api.1", "/v20"),
            ("/apix", "web.1", "/apix"),
            ("/API", "web.1", "/API"),
            ("/", "web.1", "/"),
        ):
            answer = ask(ring.port, path)
            assert (answer.by, answer.seen["path"]) == (service, seen), path
        # The host name decides first: what nobody has there falls to the next one.
        assert ask(ring.port, "/api/v2/x/y").by == ("deep.1" if ports else "other.1")
        assert ask(ring.port, "/api/v2/x", host="w.example:80").by == "other.1"
        assert ask(ring.port, "/", host="w.example").status == (404 if ports else 200)
        # What waited while its service was held comes back by this way, and is not stripped again.
        onward = f"{ring.haproxy.run}/onward-{hashlib.sha256(b'api.80').hexdigest()[:12]}.sock"
        assert ask(ring.port, "/api/x", socket_path=onward).seen["path"] == "/api/x"
