"""What a compose file says of traffic, from `hecd deploy` to a client, and what a change of it costs."""

from __future__ import annotations

import http.client
import threading
from collections import Counter

from tests.e2e.conftest import Machine
from tests.fakes.ports import free_port
from tests.integration.confd_py.apps import certificate, print_of, shown

FILE = """
services:
  web:
    image: hecd/sample:{release}
    ports: ["{port}:8080", "{tls}:8080"]
    deploy: {{replicas: 2, update_config: {{monitor: 1s}}}}
    x-hecd:
      hostnames: [shop.example]
      paths: [/shop]
      strip_path: true
      tls: {{port: {tls}, redirect: false}}
      sticky: {{cookie: SID}}
      timeouts: {{response: {response}}}
      limits: {{connections_per_instance: 50}}
      slow_start: 1s
      outliers: {{errors: 5, for: 2s}}
      drain_timeout: 5s
      check: {{path: /health}}
"""


class Client(threading.Thread):
    """One browser that asks again and again, with the cookie it has; `got` counts what came back."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._ending = threading.Event()
        self.cookie = ""
        self.got: Counter[object] = Counter()

    def run(self) -> None:
        while not self._ending.wait(0.01):
            try:
                self.got[self._ask()] += 1
            except OSError as err:
                self.got[type(err).__name__] += 1

    def stop(self) -> None:
        self._ending.set()
        self.join(10)

    def _ask(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            cookie = {"Cookie": self.cookie} if self.cookie else {}
            connection.request("GET", "/shop/", headers={"Host": "shop.example", **cookie})
            answer = connection.getresponse()
            answer.read()
            self.cookie = (answer.getheader("set-cookie") or self.cookie).partition(";")[0]
            return answer.status
        finally:
            connection.close()


def test_traffic_from_the_file_to_the_client(machine: Machine) -> None:
    tls = free_port()

    def text(release: int, response: str) -> str:
        return FILE.format(release=release, port=machine.port, tls=tls, response=response)

    done = machine.deploy_text(text(1, "20s"))
    assert done.code == 0, done.err
    missing = machine.hecd("status")
    assert missing.code == 1 and "has no certificate for shop.example" in missing.out
    pem = certificate("shop.example", ends_days=90)
    (machine.root / "certificates").mkdir()
    (machine.root / "certificates" / "shop.pem").write_text(pem)
    machine.until(lambda: shown(tls, "shop.example") == print_of(pem), 30.0, "the certificate is served")
    machine.until(lambda: machine.hecd("status").code == 0, 30.0, "nothing is wrong")
    assert f"{tls}->8080/https(shop.example,/shop)" in machine.hecd("services").out

    clash = machine.deploy_text(text(1, "20s").replace("  web:", "  other:").replace(f'"{machine.port}:8080", ', ""))
    assert clash.code == 1 and f"{tls} with host shop.example and path /shop is published by web already" in clash.err

    before = {i["instance"]: (i["restarts"], i["changed_at"]) for i in machine.instances()}
    plan = machine.hecd("plan", "-f", "-", stdin=text(1, "30s")).out
    assert "traffic.timeouts.response_s: 20.0 -> 30.0" in plan
    clients = [Client(machine.port) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        machine.until(lambda: all(client.cookie for client in clients), 30.0, "all have a cookie")
        assert machine.deploy_text(text(1, "30s")).code == 0
        assert {i["instance"]: (i["restarts"], i["changed_at"]) for i in machine.instances()} == before
        reloads = machine.reloads()
        cookies = {client.cookie for client in clients}
        done = machine.deploy_text(text(2, "30s"))
        assert done.code == 0, done.err
        assert {i["release"] for i in machine.instances()} == {2}
        assert machine.reloads() == reloads
        machine.until(lambda: not cookies & {client.cookie for client in clients}, 30.0, "all have a new cookie")
    finally:
        for client in clients:
            client.stop()
    for client in clients:
        assert set(client.got) == {200}, client.got
