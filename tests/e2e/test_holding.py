"""Requests that wait at the load balancer: nothing is lost, whatever is killed or reloaded meanwhile."""

from __future__ import annotations

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import Machine
from tests.e2e.test_steering import text
from tests.fakes.ports import free_port


class Clients:
    """Requests that are all under way at once, each on a connection of its own."""

    def __init__(self, port: int, count: int) -> None:
        self.statuses: list[int] = []
        self.instances: set[str] = set()
        self._port = port
        self._pool = ThreadPoolExecutor(count)
        self._asked = [self._pool.submit(self._ask, n) for n in range(count)]

    def _ask(self, n: int) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=50)
        connection.request("POST" if n % 2 else "GET", "/", body=b"x" * 100 if n % 2 else None)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers["x-hecd-instance"] or ""

    @property
    def answered(self) -> int:
        return sum(asked.done() for asked in self._asked)

    def finish(self) -> list[int]:
        """The statuses that were not 200."""
        done = [asked.result(60) for asked in self._asked]
        self._pool.shutdown()
        self.instances = {instance for _, instance in done}
        return [status for status, _ in done if status != 200]


def test_a_pause_holds_all_and_outlives_a_reload_and_the_death_of_all_but_the_balancer(machine: Machine) -> None:
    assert machine.deploy_text(text(machine, 1, replicas=2)).code == 0
    reloads = machine.reloads()
    paused = machine.hecd("pause", "web", "--for", "45", "-m", "moving")
    assert paused.code == 0, paused.err
    clients = Clients(machine.port, 150)
    machine.until(lambda: machine.server("hecd-hold").get("sessions") == 150, 30.0, "all of them wait")
    assert "requests wait, by" in machine.hecd("status").out
    assert machine.reloads() == reloads
    for victim in ("registrator control", "registrator agent", "confd-py"):
        machine.kill(victim)
    machine.until(lambda: machine.edge() is not None, 30.0, "the agent is back")
    other = "services: {api: {image: 'hecd/sample:1', ports: ['%d:8080'], deploy: {update_config: {monitor: 0s}}}}"
    added = machine.hecd("deploy", "-f", "-", stdin=other % free_port())
    assert added.code == 0, added.err
    assert machine.reloads() > reloads
    late = Clients(machine.port, 50)  # these come to the new process
    machine.until(lambda: machine.server("hecd-hold").get("sessions") == 50, 30.0, "they wait, too")
    assert clients.answered == late.answered == 0
    assert machine.hecd("resume", "web").code == 0
    assert clients.finish() == late.finish() == []
    assert clients.instances == {"web.1", "web.2"}
    nothing = machine.hecd("resume", "web")
    assert "web is not paused" in nothing.err

    assert machine.hecd("maintenance", "web", "on").code == 0
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert "maintenance web off" in machine.hecd("pause", "web").err
    assert machine.hecd("maintenance", "web", "off").code == 0
    assert Clients(machine.port, 5).finish() == []


def test_a_single_instance_that_stops_first_loses_no_request(machine: Machine) -> None:
    assert machine.deploy_text(text(machine, 1, "stop-first", 1)).code == 0
    most: list[int] = []
    over, held = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.03):
            running = machine.etcdctl("get", "--prefix", "--print-value-only", "/hecd/instances/web/")
            most.append(sum('"state":"stopping"' not in line for line in running.splitlines()))
            if not held.is_set() and machine.record("/hecd/holds/web/release") is not None:
                machine.kill("registrator control")  # another one goes on
                held.set()

    watcher = threading.Thread(target=watch)
    with machine.load(kept_rate=100, fresh_rate=50) as report:
        watcher.start()
        done = machine.deploy_text(text(machine, 2, "stop-first", 1))
        over.set()
        watcher.join()
    assert done.code == 0, done.err
    assert held.is_set()
    assert max(most) == 1
    assert report["sent"] > 100
    assert report["failures"] == []
    assert machine.record("/hecd/holds/web/release") is None
    assert (
        "HAProxy: set server web.8080/hecd-hold weight 1"
        in machine.hecd("plan", "-f", "-", stdin=text(machine, 1, "stop-first", 1)).out
    )
