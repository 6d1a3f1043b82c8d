"""Docker, etcd and the announcer are killed and come back: what stands in etcd meanwhile, and afterwards."""

from __future__ import annotations

import os
import signal

from tests.integration.announce.dockerd import STAY
from tests.integration.announce.parts import HOST, PREFIX, Host, until

IP = "127.0.0.1"


def key(container: str) -> str:
    return f"{PREFIX}/web/{HOST}:{container}:80"


def test_while_docker_is_away_everything_stays_and_then_it_is_in_step(host: Host) -> None:
    host.announce(f"-ip={IP}")
    host.dockerd.run("stays", publish={80: 8080})
    dies = host.dockerd.run("dies", publish={80: 8081})
    until(lambda: len(host.stored()) == 2, told=host.log)
    before, pid = host.entries(), host.dockerd.pid(dies)
    host.dockerd.kill()
    until(lambda: "docker is away" in host.log())
    os.kill(pid, signal.SIGKILL)
    host.etcd.etcdctl("put", "/other", "1")
    assert host.entries() == before
    host.dockerd.start()
    host.becomes({key("stays"): f"{IP}:8080"})
    assert host.entries()[key("stays")] == before[key("stays")]
    host.dockerd.run("new", publish={80: 8082})
    host.becomes({key("stays"): f"{IP}:8080", key("new"): f"{IP}:8082"})


def test_an_announcer_that_starts_before_docker_waits_for_it(host: Host) -> None:
    host.dockerd.run("shop", publish={80: 8080})
    host.announce(f"-ip={IP}")
    host.becomes({key("shop"): f"{IP}:8080"})
    host.kill()
    host.dockerd.kill()
    before = host.entries()
    host.begin(f"-ip={IP}")
    until(lambda: "docker is away" in host.log(), told=host.log)
    assert host.entries() == before  # nothing is removed for being unknown
    host.dockerd.start()
    until(lambda: host.log().count("docker is there") == 2, told=host.log)
    assert host.entries() == before


def test_while_etcd_is_away_containers_come_and_go_and_then_it_is_in_step(host: Host) -> None:
    host.announce(f"-ip={IP}")
    for number, name in enumerate(("stays", "goes")):
        host.dockerd.run(name, publish={80: 8080 + number})
    until(lambda: len(host.stored()) == 2, told=host.log)
    before = host.entries()
    host.etcd.kill()
    host.dockerd.api.remove_container("goes", force=True)
    host.dockerd.run("new", publish={80: 8082})
    host.etcd.start()
    host.becomes({key("stays"): f"{IP}:8080", key("new"): f"{IP}:8082"})
    assert host.entries()[key("stays")] == before[key("stays")]


def test_an_etcd_that_lost_everything_is_told_all_again(host: Host) -> None:
    host.announce(f"-ip={IP}")
    host.dockerd.run("shop", publish={80: 8080})
    host.becomes({key("shop"): f"{IP}:8080"})
    host.etcd.kill()
    host.etcd.wipe()
    host.etcd.start()
    host.becomes({key("shop"): f"{IP}:8080"})


def test_a_lease_that_is_lost_is_replaced(host: Host) -> None:
    host.announce(f"-ip={IP}", "-ttl=15", "-ttl-refresh=1")
    host.dockerd.run("shop", publish={80: 8080})
    host.becomes({key("shop"): f"{IP}:8080"})
    lease = host.entries()[key("shop")][2]
    host.etcd.etcdctl("lease", "revoke", f"{lease:x}")
    host.becomes({key("shop"): f"{IP}:8080"})
    assert host.entries()[key("shop")][2] not in (0, lease)


def test_one_that_is_killed_leaves_nothing_stale_and_what_is_not_its_own_alone(host: Host) -> None:
    foreign = {f"{PREFIX}/web/host2:shop:80": "10.0.0.2:80", f"{PREFIX}/web/{HOST}:by-hand:80": "10.0.0.1:1"}
    for name, value in foreign.items():
        host.etcd.etcdctl("put", name, value)
    host.announce(f"-ip={IP}")
    for number, name in enumerate(("stays", "goes")):
        host.dockerd.run(name, publish={80: 8080 + number})
    until(lambda: len(host.stored()) == 4, told=host.log)
    before = host.entries()
    host.kill()
    host.dockerd.api.remove_container("goes", force=True)
    host.announce(f"-ip={IP}")
    host.becomes({key("stays"): f"{IP}:8080", **foreign})
    assert host.entries()[key("stays")] == before[key("stays")]  # under the same lease, and not written again
    assert host.stop() == 0
    assert set(host.stored()) == {key("stays"), *foreign}  # it serves on while the announcer is being replaced


def test_an_order_to_end_outlives_the_announcer(host: Host) -> None:
    host.announce(f"-ip={IP}", to="hecd://{}")
    host.dockerd.run("shop", publish={80: 8080}, script=f"trap : TERM; {STAY}")
    until(lambda: [r["state"] for r in host.records("web")] == ["running"], told=host.log)
    host.dockerd.api.kill("shop", "SIGTERM")
    until(lambda: [r["state"] for r in host.records("web")] == ["draining"], told=host.log)
    before = host.entries("/hecd/")
    host.kill()
    host.announce(f"-ip={IP}", to="hecd://{}")
    host.dockerd.run("later", publish={80: 8081})
    until(lambda: len(host.records("web")) == 2, told=host.log)
    assert before.items() <= host.entries("/hecd/").items()
    host.dockerd.api.restart("shop", timeout=0)
    until(lambda: [r["state"] for r in host.records("web")] == ["running"] * 2, told=host.log)


def test_cleanup_removes_what_this_host_left_and_nothing_else(host: Host) -> None:
    others = {
        f"{PREFIX}/web/host2:gone:80": "10.0.0.2:80",  # another host's
        f"{PREFIX}/web/custom": "10.0.0.1:80",  # nobody can say whose
        "/elsewhere/web/host1:gone:80": "10.0.0.1:80",
    }
    dangling = {f"{PREFIX}/web/{HOST}:gone:80": "1.1.1.1:1", f"{PREFIX}/web/{HOST}:gone:53:udp": "1.1.1.1:1"}
    for name, value in (others | dangling).items():
        host.etcd.etcdctl("put", name, value)
    lease = host.etcd.etcdctl("lease", "grant", "60").split()[1]
    kept = f"{PREFIX}/web/{HOST}:podman:80"  # of an announcer of another Docker on this host
    host.etcd.etcdctl("put", f"--lease={lease}", kept, "1.1.1.1:2")
    host.announce(f"-ip={IP}", "-cleanup")
    host.becomes({name: v for name, v in others.items() if name.startswith(PREFIX)} | {kept: "1.1.1.1:2"})
    assert "/elsewhere/web/host1:gone:80" in host.stored("/elsewhere")


def test_a_key_that_somebody_else_holds_is_not_fought_over(host: Host) -> None:
    lease = host.etcd.etcdctl("lease", "grant", "60").split()[1]
    host.etcd.etcdctl("put", f"--lease={lease}", f"{PREFIX}/web/custom", "10.0.0.2:80")
    host.announce(f"-ip={IP}")
    host.dockerd.run("shop", publish={80: 8080}, environment=["SERVICE_ID=custom"])
    until(lambda: "is not written" in host.log(), told=host.log)
    host.dockerd.run("other", publish={80: 8081})
    until(lambda: key("other") in host.stored(), told=host.log)
    assert host.stored()[f"{PREFIX}/web/custom"] == "10.0.0.2:80"
    host.etcd.etcdctl("lease", "revoke", lease)
    until(lambda: host.stored().get(f"{PREFIX}/web/custom") == f"{IP}:8080", told=host.log)


def test_etcd_that_never_answers_ends_it_after_the_attempts(host: Host) -> None:
    host.etcd.kill()
    host.begin("-retry-attempts=1", "-retry-interval=100")
    assert host.ended() == 3
    assert host.log().count("connecting to etcd") == 2
    assert "does not answer" in host.log()
