"""x-hecd.tls: certificates from a directory, chosen by the name that is asked for, renewed while requests go on."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from tests.integration.confd_py.apps import apps, ask, certificate, print_of, secure, shown
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, load, within
from tests.integration.confd_py.test_traffic import port, serving


class Site:
    """A service with a plain and a TLS port, and the directory of certificates."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.tls = free_port()
        self.folder = ring.haproxy.certificates
        self.folder.mkdir()

    def put(self, name: str, pem: str) -> str:
        """Put a file there as `mv` would; the fingerprint of its certificate."""
        staged = self.folder / f".{name}"
        staged.write_text(pem)
        staged.rename(self.folder / name)
        return print_of(pem) if "BEGIN CERTIFICATE" in pem else ""

    def serve(self, **more: object) -> None:
        tls = {"port": self.tls, "redirect": True, "hsts_s": 0.0, **more}
        self.ring.until_applied(
            self.ring.service(ports=[port(self.ring), port(self.ring, self.tls)], tls=tls, check={"path": "/health"}),
        )

    def until_shown(self, name: str, fingerprint: str) -> None:
        what = f"{name} is shown {fingerprint[:8]}"
        within(SOON_S, what, lambda: shown(self.tls, name) == fingerprint, self.ring.confd.told)

    def told(self, file: str) -> dict[str, object]:
        found = self.ring.confd.state().get("certificates", [])
        assert isinstance(found, list)
        return next((state for state in found if state["file"] == file), {"fault": "absent", "names": []})

    def until_fault(self, file: str, words: str) -> None:
        within(SOON_S, f"{file}: {words}, now {self.told(file)}", lambda: words in str(self.told(file)["fault"]))

    @property
    def reloads(self) -> object:
        return self.ring.confd.state()["reloads"]


@pytest.fixture
def site(ring: Ring) -> Iterator[Site]:
    made = Site(ring)
    with apps(ring, "web.1"):
        made.serve()
        serving(ring, "web.1")
        yield made


def test_certificates_come_and_are_renewed_without_a_reload(site: Site) -> None:
    site.serve(redirect=False)
    assert shown(site.tls, "a.example") == ""
    reloads = site.reloads
    first = site.put("a.pem", certificate("a.example", "*.a.example"))
    site.until_shown("a.example", first)
    second = site.put("b.pem", certificate("b.example"))
    site.until_shown("b.example", second)
    assert [shown(site.tls, name) for name in ("a.example", "x.a.example", "c.example")] == [first, first, ""]
    with load(site.ring.port) as plain:
        for turn in range(3):
            renewed = site.put("a.pem", certificate("a.example", "*.a.example"))
            site.ring.until_applied(site.ring.put(*site.ring.instance_record(1, weight=50 + turn)))  # at the same time
            site.until_shown("a.example", renewed)
    assert plain.failures == []
    assert shown(site.tls, "b.example") == second
    assert site.reloads == reloads
    assert site.told("a.pem") | {"ends_at": 0} == {
        "file": "a.pem", "names": ["a.example", "*.a.example"], "ends_at": 0, "fault": "",
    }  # fmt: skip
    copy = site.ring.haproxy.run / "certificates" / "a.pem"
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_bad_certificate_neither_arrives_nor_breaks_a_reload(site: Site) -> None:
    pem = certificate("a.example")
    good = site.put("a.pem", pem)
    site.until_shown("a.example", good)
    for bad, words in (
        (certificate("a.example", key_of=pem), "the key does not belong to the first certificate"),
        (certificate("a.example", begins_days=-3, ends_days=-1), "it expired on 20"),
        (certificate("a.example", begins_days=1), "it is not valid before 20"),
        ("rubbish", "it has to hold the certificate, its chain, and its key"),
        ("x" * 70_000, "it is larger than 64 KiB"),
    ):
        site.put("a.pem", bad)
        site.put("new.pem", bad)
        site.until_fault("a.pem", f"{words}")
        site.until_fault("a.pem", "; the one before is served on")
        site.until_fault("new.pem", words)
        assert site.told("a.pem")["names"] == ["a.example"] and site.told("new.pem")["names"] == []
        assert shown(site.tls, "a.example") == good
    site.serve(hsts_s=60.0)  # takes a reload
    assert site.ring.confd.state()["error"] is None
    assert shown(site.tls, "a.example") == good
    (site.folder / "a.pem").unlink()
    (site.folder / "new.pem").unlink()
    site.until_fault("a.pem", f"it is gone from {site.folder}; the one before is served on")
    assert shown(site.tls, "a.example") == good
    again = site.put("a.pem", certificate("a.example"))
    site.until_shown("a.example", again)
    site.until_fault("new.pem", "absent")
    within(SOON_S, "a.pem in order", lambda: site.told("a.pem")["fault"] == "")


def test_what_is_gone_is_served_until_it_expires(site: Site) -> None:
    gone = site.put("a.pem", certificate("a.example", ends_days=15 / 86400))
    site.until_shown("a.example", gone)
    (site.folder / "a.pem").unlink()
    site.until_fault("a.pem", "it is gone from")
    within(SOON_S, "taken away", lambda: shown(site.tls, "a.example") == "")
    site.until_fault("a.pem", "absent")  # it is told of a moment after it is so
    assert list((site.ring.haproxy.run / "certificates").iterdir()) == []


def test_a_restart_serves_what_is_there_at_once(site: Site) -> None:
    good = site.put("a.pem", certificate("a.example"))
    site.until_shown("a.example", good)
    site.ring.haproxy.stop()
    later = site.put("a.pem", certificate("a.example"))
    copy: Path = site.ring.haproxy.run / "certificates" / "a.pem"
    within(SOON_S, "copied", lambda: print_of(copy.read_text()) == later)
    site.ring.haproxy.start()
    assert shown(site.tls, "a.example") == later


def test_a_directory_that_can_not_be_used_takes_nothing_away(site: Site) -> None:
    good = site.put("a.pem", certificate("a.example"))
    site.until_shown("a.example", good)
    aside = site.folder.with_name("aside")
    site.folder.rename(aside)
    site.until_fault("a.pem", "it is gone from")
    assert shown(site.tls, "a.example") == good
    (aside / "b.pem").mkdir()
    os.symlink("nowhere", aside / "c.pem")
    aside.rename(site.folder)
    site.until_fault("b.pem", "it can't be read")
    assert site.told("a.pem")["fault"] == "" and shown(site.tls, "a.example") == good


def test_plain_requests_are_sent_to_tls_but_for_acme(site: Site) -> None:
    site.put("a.pem", certificate("a.example"))
    within(SOON_S, "served", lambda: shown(site.tls, "a.example"))
    plain = site.ring.port
    answer = ask(plain, "/x/y?q=1&r=%20", host=f"a.example:{plain}", method="POST", body=b"x")
    assert (answer.status, answer.headers["location"]) == (308, f"https://a.example:{site.tls}/x/y?q=1&r=%20")
    token = ask(plain, "/.well-known/acme-challenge/token", host="a.example")
    assert (token.status, token.seen["path"]) == (200, "/.well-known/acme-challenge/token")
    forged = ask(plain, "/.well-known/acme-challenge/t", headers={"X-Forwarded-Proto": "https"})
    assert forged.received["x-forwarded-proto"] == "http"
    secured = ask(site.tls, "/x", host="a.example", tls=True, headers={"X-Forwarded-Proto": "http"})
    assert secured.received["x-forwarded-proto"] == "https"
    assert "strict-transport-security" not in secured.headers
    site.serve(redirect=False, hsts_s=31536000.0)
    assert ask(plain, "/x", host="a.example").by == "web.1"
    assert "strict-transport-security" not in ask(plain, "/x", host="a.example").headers
    secured = ask(site.tls, "/x", host="a.example", tls=True)
    assert secured.headers["strict-transport-security"] == "max-age=31536000"


def test_what_is_spoken(site: Site) -> None:
    site.put("a.pem", certificate("a.example"))
    within(SOON_S, "served", lambda: shown(site.tls, "a.example"))
    for offered, chosen in (("h2 http/1.1", "h2"), ("http/1.1", "http/1.1")):
        with secure(site.tls, "a.example", alpn=offered) as tls:
            assert tls.selected_alpn_protocol() == chosen
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with secure(site.tls, "a.example", version=version) as tls:
            assert (tls.cipher() or ("",))[0].startswith(("ECDHE-ECDSA-", "TLS_"))


def test_one_that_is_too_large_for_a_running_haproxy_is_served_from_the_next_reload_on(site: Site) -> None:
    site.ring.confd.check_every("5s")  # it finds that a reload has read the file
    small = site.put("a.pem", certificate("a.example"))
    site.until_shown("a.example", small)
    chain = "".join(pem[: pem.index("-----BEGIN PRIVATE")] for pem in (certificate(f"{n}.example") for n in range(40)))
    large = site.put("a.pem", certificate("a.example") + chain)
    site.until_fault("a.pem", "is larger than HAProxy takes while it runs (15000 bytes); it is read at the next reload")
    assert shown(site.tls, "a.example") == small
    site.serve(hsts_s=60.0)
    assert shown(site.tls, "a.example") == large
    within(SOON_S, "no fault", lambda: site.told("a.pem")["fault"] == "")
