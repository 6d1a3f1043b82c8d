"""Maps and certificates change while HAProxy runs: no reload, no failed request, and the file always says the same."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.etcd_server import make_certificates
from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within

MAP = '{% for pair in gets("/routes/*") %}\n{{ base(pair.Key) }} {{ pair.Value }}\n{% endfor %}\n'
PEM = '{{ getv("/certs/site") }}'
FRONTEND = """
frontend content
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{tls} ssl crt {pem} crt {certs}/
    http-request return status 200 content-type text/plain lf-string "%[req.hdr(x-key),map({map},none)]"
"""


class Site:
    """A ring with a map, a certificate and a directory of certificates in its configuration."""

    def __init__(self, ring: Ring, folder: Path) -> None:
        self.ring = ring
        self.port, self.tls = free_port(), free_port()
        self.certs = folder / "certs"
        self.certs.mkdir()
        self.map, self.pem, self.fresh = folder / "routes.map", folder / "site.pem", self.certs / "fresh.pem"
        pairs = [make_certificates(folder / f"authority{index}") for index in range(3)]
        self.good = [pair.server.read_text() + pair.server_key.read_text() for pair in pairs]
        (self.certs / "first.pem").write_text(self.good[2])
        self.map.write_text("")
        self.pem.write_text(self.good[0])
        template = ring.confd.confdir / "templates" / "haproxy.cfg.j2"
        lines = FRONTEND.format(port=self.port, tls=self.tls, pem=self.pem, certs=self.certs, map=self.map)
        template.write_text(template.read_text().replace("backend hecd-nowhere", lines + "\nbackend hecd-nowhere", 1))
        self.resource("routes", MAP, self.map, "haproxy-map", "/routes")
        self.resource("site", PEM, self.pem, "haproxy-cert", "/certs")

    def resource(self, name: str, template: str, dest: Path, apply: str, keys: str, more: str = "") -> None:
        confdir, run = self.ring.confd.confdir, self.ring.haproxy.run
        (confdir / "templates" / f"{name}.j2").write_text(template)
        (confdir / "conf.d" / f"{name}.toml").write_text(
            f'[template]\nsrc = "{name}.j2"\ndest = "{dest}"\nkeys = ["{keys}"]\napply = "{apply}"\n'
            f'[template.haproxy]\nsocket = "{run}/admin.sock"\nmaster_socket = "{run}/master.sock"\n'
            f'check_interval = "200ms"\n{more}\n'
        )

    def start(self) -> None:
        self.ring.confd.start()
        within(SOON_S, "the first file", self.ring.haproxy.config.exists)
        self.ring.haproxy.start()
        within(SOON_S, "applied", lambda: self.ring.confd.applied(1))

    def put(self, key: str, value: str) -> None:
        self.ring.etcd.etcdctl("put", "--", key, value)

    def looked_up(self, key: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), SOON_S) as sock:
            sock.sendall(f"GET / HTTP/1.0\r\nx-key: {key}\r\n\r\n".encode())
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
        return data.decode().partition("\r\n\r\n")[2]

    def served(self) -> str:
        """SHA-1 of the certificate that a new connection is shown."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.tls), SOON_S) as sock, context.wrap_socket(sock) as tls:
            return hashlib.sha1(tls.getpeercert(binary_form=True) or b"").hexdigest()

    def becomes(self, key: str, value: str) -> None:
        """What is looked up, soon."""
        within(SOON_S, f"{key} is {value}", lambda: self.looked_up(key) == value, lambda: self.looked_up(key))

    def serves(self, pem: str) -> None:
        """New connections are shown this certificate, soon."""
        within(SOON_S, "the certificate is served", lambda: self.served() == sha1(pem), self.served)

    def tells(self, dest: Path, words: str) -> None:
        """The fault of a file has these words, soon."""
        within(SOON_S, f"it is told: {words}", lambda: words in str(self.state(dest)("error")))

    def state(self, dest: Path) -> Callable[[str], object]:
        import json

        dotted = dest.parent / f".{dest.name}.applied"
        path = dotted if dotted.exists() else Path(f"{dest}.applied")
        return lambda name: json.loads(path.read_text())[name]


def sha1(pem: str) -> str:
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END") + 25])).hexdigest()


@pytest.fixture
def site(idle_ring: Ring, tmp_path: Path) -> Site:
    made = Site(idle_ring, tmp_path)
    idle_ring.etcd.start()
    made.put("/certs/site", made.good[0])
    return made


def test_a_map_follows_without_a_reload(site: Site) -> None:
    site.put("/routes/a", "one")
    site.start()
    site.ring.service()
    site.ring.until_applied(site.ring.instance(1))
    site.ring.until_serving(1)
    reloads = site.ring.confd.state()["reloads"]
    site.becomes("a", "one")
    with load(site.ring.port) as running:
        for number in range(30):
            site.put("/routes/b", f"v{number}")
            site.becomes("b", f"v{number}")
        site.ring.delete("/routes/a")
        site.becomes("a", "none")
    assert running.failures == []
    assert site.map.read_text() == "b v29\n"
    assert site.ring.confd.state()["reloads"] == reloads
    site.put("/routes/c", "two words")
    site.tells(site.map, "cannot stand as a word")
    assert site.map.read_text() == "b v29\n"


def test_a_certificate_follows_without_a_reload_and_a_bad_one_never_arrives(site: Site) -> None:
    site.start()
    site.ring.until_applied(site.ring.service())
    reloads = site.ring.confd.state()["reloads"]
    assert site.served() == sha1(site.good[0])
    for round_ in range(10):
        wanted = site.good[1 - round_ % 2]
        site.put("/certs/site", wanted)
        site.serves(wanted)
    wanted = site.good[0]
    assert site.pem.read_text() == wanted
    assert site.pem.stat().st_mode & 0o777 == 0o600
    mixed = (
        site.good[0].split("-----BEGIN PRIVATE KEY")[0]
        + "-----BEGIN PRIVATE KEY"
        + site.good[1].split("-----BEGIN PRIVATE KEY")[1]
    )
    for bad, words in ((mixed, "the key does not belong"), ("rubbish", "would be no certificate")):
        site.put("/certs/site", bad)
        site.tells(site.pem, words)
        assert (site.pem.read_text(), site.served()) == (wanted, sha1(wanted))
    assert site.ring.confd.state()["reloads"] == reloads
    site.put("/certs/site", site.good[1])
    site.serves(site.good[1])
    within(SOON_S, "no error", lambda: site.state(site.pem)("error") is None)


def test_a_new_certificate_enters_its_directory(site: Site) -> None:
    site.resource("fresh", '{{ getv("/certs/site") }}', site.fresh, "haproxy-cert", "/certs",
                  f'crt_list = "{site.certs}/"')  # fmt: skip
    site.fresh.unlink(missing_ok=True)
    site.ring.confd.start()
    within(SOON_S, "the first files", lambda: site.ring.haproxy.config.exists() and site.fresh.exists())
    site.fresh.unlink()
    site.ring.haproxy.start()
    listed = f"show ssl crt-list {site.certs}"
    within(SOON_S, "listed", lambda: str(site.fresh) in site.ring.haproxy.ask(listed))
    site.put("/certs/site", site.good[1])
    shown = f"show ssl cert {site.fresh}"
    within(SOON_S, "the new one", lambda: sha1(site.good[1]).upper() in site.ring.haproxy.ask(shown))
    assert "applied" not in site.ring.haproxy.ask(listed)
    assert "first.pem" in site.ring.haproxy.ask(listed)


def test_drift_is_repaired_and_counted(site: Site) -> None:
    site.put("/routes/a", "one")
    site.start()
    # What differs before confd-py has looked once is no drift.
    within(SOON_S, "in effect", lambda: site.state(site.map)("error") is None and site.state(site.pem)("error") is None)
    assert site.looked_up("a") == "one"
    site.ring.haproxy.ask(f"set map {site.map} a other")
    within(SOON_S, "repaired", lambda: site.looked_up("a") == "one")
    # confd-py looks once more after a repair: what is harmed before that is no drift either.
    within(SOON_S, "counted", lambda: site.state(site.map)("drift_repairs") == 1)
    site.ring.haproxy.ask(f"clear map {site.map}")
    within(SOON_S, "repaired", lambda: site.looked_up("a") == "one")
    pem = "".join(f"{line}\n" for line in site.good[1].splitlines())
    site.ring.haproxy.ask(f"set ssl cert {site.pem} <<\n{pem}")
    site.ring.haproxy.ask(f"commit ssl cert {site.pem}")
    within(SOON_S, "repaired", lambda: site.served() == sha1(site.good[0]))
    within(SOON_S, "counted", lambda: site.state(site.map)("drift_repairs") == 2)
    within(SOON_S, "counted", lambda: site.state(site.pem)("drift_repairs") == 1)


def test_a_haproxy_that_is_away_reads_the_files_at_its_start(site: Site) -> None:
    site.start()
    site.ring.haproxy.stop()
    site.put("/routes/a", "one")
    site.put("/certs/site", site.good[1])
    within(
        SOON_S,
        "the files follow",
        lambda: site.map.read_text() == "a one\n" and site.pem.read_text() == site.good[1],
    )
    within(SOON_S, "told", lambda: "no HAProxy answers" in str(site.state(site.map)("error")))
    assert site.state(site.map)("behind") == [f"{site.ring.haproxy.run}/admin.sock"]
    site.ring.haproxy.start()
    assert (site.looked_up("a"), site.served()) == ("one", sha1(site.good[1]))
    within(SOON_S, "in effect", lambda: site.state(site.map)("error") is None and site.state(site.pem)("error") is None)
    assert site.state(site.map)("runtime_ops") == 0


def test_changes_that_race_reloads_all_land(site: Site) -> None:
    """The new process may have read the file just before it changed; nobody looks again for a minute."""
    for toml in (site.ring.confd.confdir / "conf.d").glob("*.toml"):
        toml.write_text(toml.read_text().replace('"200ms"', '"60s"'))
    site.start()
    site.ring.service()
    site.ring.until_applied(site.ring.instance(1))
    port = free_port()
    for step in range(80):
        if step % 3 == 0:
            site.ring.service(
                "api", port=port, drain_timeout_s=float(step), balance=["random", "leastconn"][step % 4 // 2]
            )
        site.put("/routes/a", f"v{step}")
        site.put("/certs/site", site.good[step % 2])
    within(SOON_S, "the last value", lambda: site.looked_up("a") == "v79")
    within(SOON_S, "the last certificate", lambda: site.served() == sha1(site.good[1]))
    time.sleep(0.3)
    assert (site.looked_up("a"), site.served()) == ("v79", sha1(site.good[1]))
