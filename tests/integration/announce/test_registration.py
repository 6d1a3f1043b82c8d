"""Containers come and go in a real Docker: what stands in etcd, and when."""

from __future__ import annotations

import http.client
import os
import signal
import time

from tests.integration.announce.dockerd import EXPOSING, SLOW_TO_END, STAY, deaths
from tests.integration.announce.parts import HOST, PREFIX, Host, changes, until

IP = "127.0.0.1"
HECD = "hecd://{}"


def serves(endpoint: str) -> None:
    """Wait until GET / at `endpoint` is answered well: it is announced when it runs, and may not listen yet."""

    def answers() -> bool:
        connection = http.client.HTTPConnection(endpoint, timeout=20)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    until(answers, told=lambda: endpoint)


def test_a_published_port_stands_there_while_its_container_runs(host: Host) -> None:
    host.announce(f"-ip={IP}")
    host.dockerd.run("web.0", publish={80: 8080}, environment=["SERVICE_NAME=shop"])
    host.becomes({f"{PREFIX}/shop/{HOST}:web.0:80": f"{IP}:8080"})
    serves(f"{IP}:8080")
    host.dockerd.api.remove_container("web.0", force=True)
    host.becomes({})


def test_what_ran_before_the_announcer_is_found(host: Host) -> None:
    host.dockerd.run("web.0", publish={80: 8080})
    host.dockerd.run("hidden", publish={80: 8081}, labels={"SERVICE_IGNORE": "yes"})
    host.announce(f"-ip={IP}")
    host.becomes({f"{PREFIX}/web/{HOST}:web.0:80": f"{IP}:8080"})


def test_a_container_on_a_network_of_its_own_is_reached_where_it_is_said_to_be(host: Host) -> None:
    network = host.dockerd.api.create_network("shop-net", driver="bridge")["Id"]
    host.announce("-internal")
    host.dockerd.run("inside", expose=(80,), network="shop-net")
    key = f"{PREFIX}/web/{HOST}:inside:80"
    until(lambda: key in host.stored(), told=host.log)
    first = host.stored()[key]
    serves(first)
    host.dockerd.api.disconnect_container_from_network("inside", network)
    host.dockerd.api.connect_container_to_network("inside", "bridge")
    until(lambda: host.stored().get(key, first) != first, told=host.log)
    serves(host.stored()[key])


def test_a_port_published_from_a_network_of_its_own_is_the_hosts(host: Host) -> None:
    host.dockerd.api.create_network("shop-net", driver="bridge")
    host.announce("-hostname=localhost")
    host.dockerd.run("outside", publish={80: 8080}, network="shop-net")
    host.becomes({f"{PREFIX}/web/localhost:outside:80": f"{IP}:8080"})
    serves(f"{IP}:8080")


def test_a_container_in_the_network_of_another_is_reached_there(host: Host) -> None:
    host.dockerd.run("pod", port=81)
    host.announce(f"-ip={IP}")
    host.dockerd.run("app", image=EXPOSING, network="container:pod")
    until(lambda: f"{PREFIX}/exposing/{HOST}:app:80" in host.stored(), told=host.log)
    serves(host.stored()[f"{PREFIX}/exposing/{HOST}:app:80"])


def test_docker_stop_drains_before_the_container_dies(host: Host) -> None:
    host.announce(f"-ip={IP}", to=HECD)
    name = host.dockerd.run("shop", publish={80: 8080}, script=SLOW_TO_END, environment=["SERVICE_NAME=shop"])
    until(lambda: [r["state"] for r in host.records("shop")] == ["running"], told=host.log)
    with changes(host.etcd, "/hecd/instances/") as heard, deaths(host.dockerd) as died:
        host.dockerd.api.stop(name, timeout=30)
        until(lambda: len(heard.lines) == 2 and name in died, told=lambda: heard.lines)
    (drained_at, _, _, drained), (_, last, _, _) = heard.lines
    assert '"state":"draining"' in drained and '"health":"healthy"' in drained and last == "DELETE"
    assert died[name] - drained_at > 0.5  # it takes six seconds to end


def test_docker_stop_removes_registrators_key_before_the_container_dies(host: Host) -> None:
    host.announce(f"-ip={IP}")
    name = host.dockerd.run("shop", publish={80: 8080}, script=SLOW_TO_END)
    until(lambda: bool(host.stored()), told=host.log)
    with changes(host.etcd, f"{PREFIX}/") as heard, deaths(host.dockerd) as died:
        host.dockerd.api.stop(name, timeout=30)
        until(lambda: len(heard.lines) == 1 and name in died, told=lambda: heard.lines)
    assert heard.lines[0][1] == "DELETE" and died[name] - heard.lines[0][0] > 0.5


def test_a_stop_signal_of_its_own_drains_and_others_do_not(host: Host) -> None:
    host.announce(f"-ip={IP}", to=HECD)
    script = f"trap 'sleep 60; exit 0' USR1; trap : HUP; trap : WINCH; httpd -p $0 -h /srv; {STAY}"
    host.dockerd.run("shop", publish={80: 8080}, script=script, stop_signal="SIGUSR1")
    until(lambda: [r["state"] for r in host.records("web")] == ["running"], told=host.log)
    before = host.entries("/hecd/instances/")
    host.dockerd.api.kill("shop", "SIGHUP")
    host.dockerd.api.kill("shop", "SIGWINCH")
    host.dockerd.run("later", publish={80: 8081})  # announced after the signals were heard of
    until(lambda: len(host.records("web")) == 2, told=host.log)
    assert before.items() <= host.entries("/hecd/instances/").items()
    host.dockerd.api.kill("shop", "SIGUSR1")
    until(lambda: "draining" in [r["state"] for r in host.records("web")], told=host.log)


def test_one_that_is_killed_behind_dockers_back_goes_at_once(host: Host) -> None:
    host.announce(f"-ip={IP}")
    name = host.dockerd.run("shop", publish={80: 8080})
    until(lambda: bool(host.stored()), told=host.log)
    os.kill(host.dockerd.pid(name), signal.SIGKILL)
    host.becomes({})


def test_a_failed_one_stays_where_only_success_deregisters(host: Host) -> None:
    host.announce(f"-ip={IP}", "-deregister", "on-success")
    ends = "httpd -p 80 -h /srv; while test ! -f /end; do sleep 0.05; done; exit $0"
    for number, name in enumerate(("good", "bad")):
        host.dockerd.run(name, publish={80: 8080 + number}, script=ends, port=number)
    until(lambda: len(host.stored()) == 2, told=host.log)
    bad = f"{PREFIX}/web/{HOST}:bad:80"
    with changes(host.etcd, f"{PREFIX}/") as heard:
        for name in ("bad", "good"):
            host.dockerd.inside(name, "/bin/touch", "/end")
        host.becomes({bad: f"{IP}:8081"})
        until(lambda: not host.dockerd.published("bad"), told=host.log)  # Docker takes them after the death
        host.dockerd.api.remove_container("bad")
        host.becomes({})
        until(lambda: ("DELETE", bad) in [(kind, key) for _, kind, key, _ in heard.lines], told=host.log)
    assert [kind for _, kind, key, _ in heard.lines if key == bad] == ["DELETE"]


def test_dockers_healthcheck_gates_and_follows(host: Host) -> None:
    host.announce(f"-ip={IP}", to=HECD)
    check = {"test": ["CMD", "/bin/test", "-f", "/ok"], "interval": 200_000_000, "retries": 1, "timeout": 5_000_000_000}
    host.dockerd.run("gated", publish={80: 8080}, healthcheck={**check, "retries": 1000})
    host.dockerd.run("open", publish={80: 8081}, environment=["SERVICE_NAME=open"])
    until(lambda: len(host.records("open")) == 1, told=host.log)  # the later one is there,
    assert host.records("web") == []  # the other one waits
    host.dockerd.inside("gated", "/bin/touch", "/ok")
    until(lambda: [r["health"] for r in host.records("web")] == ["healthy"], told=host.log)
    host.dockerd.run("fickle", publish={80: 8082}, healthcheck=check, environment=["SERVICE_NAME=fickle"])
    until(lambda: [r["health"] for r in host.records("fickle")] == ["unhealthy"], told=host.log)
    host.dockerd.inside("fickle", "/bin/touch", "/ok")
    until(lambda: [r["health"] for r in host.records("fickle")] == ["healthy"], told=host.log)


def test_a_probe_of_its_own_gates_and_follows(host: Host) -> None:
    host.announce(f"-ip={IP}")
    asks = ["SERVICE_CHECK_HTTP=/ok", "SERVICE_CHECK_INTERVAL=100ms", "SERVICE_CHECK_TIMEOUT=1s"]
    host.dockerd.run("asked", publish={80: 8080}, environment=asks)
    host.dockerd.run("script", publish={80: 8081}, environment=["SERVICE_CHECK_SCRIPT=true"])
    host.becomes({f"{PREFIX}/web/{HOST}:script:80": f"{IP}:8081"})
    assert "SERVICE_CHECK_SCRIPT is not run" in host.log()
    host.dockerd.inside("asked", "/bin/touch", "/srv/ok")
    until(lambda: f"{PREFIX}/web/{HOST}:asked:80" in host.stored(), told=host.log)
    host.dockerd.inside("asked", "/bin/rm", "/srv/ok")
    host.becomes({f"{PREFIX}/web/{HOST}:script:80": f"{IP}:8081"})


def test_a_paused_one_is_out_until_it_goes_on(host: Host) -> None:
    host.announce(f"-ip={IP}")
    host.dockerd.run("shop", publish={80: 8080})
    until(lambda: bool(host.stored()), told=host.log)
    host.dockerd.api.pause("shop")
    host.becomes({})
    host.dockerd.api.unpause("shop")
    host.becomes({f"{PREFIX}/web/{HOST}:shop:80": f"{IP}:8080"})


def test_a_name_that_is_none_is_refused_aloud(host: Host) -> None:
    host.announce(f"-ip={IP}", to=HECD)
    host.dockerd.run("evil", publish={80: 8080}, environment=["SERVICE_NAME=a\n  server x 1.2.3.4:1"])
    host.dockerd.run("good", publish={80: 8081})
    until(lambda: len(host.records("web")) == 1, told=host.log)
    assert len(host.stored("/hecd/")) == 1
    assert host.log().count("can't be the name of a service") == 1


def test_nothing_is_written_twice(host: Host) -> None:
    host.announce(f"-ip={IP}", "-ttl", "6", "-ttl-refresh", "1", "-resync", "1")
    host.dockerd.run("shop", publish={80: 8080})
    until(lambda: bool(host.stored()), told=host.log)
    before = host.entries()
    time.sleep(7.5)  # longer than the lease, and over several looks at everything
    assert host.entries() == before
    assert next(iter(before.values()))[2] != 0


def test_tags_are_filled_in_from_what_docker_tells(host: Host) -> None:
    made = host.dockerd.run("tagged", publish={80: 8080}, labels={"version": "7", "SERVICE_NAME": "shop"})
    host.announce(f"-ip={IP}", '-tags={{strSlice .ID 0 12}},v{{index .Config.Labels "version"}}', to=HECD)
    until(lambda: bool(host.records("shop")), told=host.log)
    assert sorted(host.records("shop")[0]["tags"]) == sorted([made[:12], "v7"])
