"""Maps and certificates: what is read from them, and what never reaches the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from confd_py.errors import HaproxyRefused
from confd_py.haproxy.certificates import CertificateFile, fingerprint
from confd_py.haproxy.maps import _payloads, read_map, shown
from confd_py.haproxy.session import _PAYLOAD_PROMPTS
from confd_py.resource import parse_resource
from tests.fakes.etcd_server import make_certificates


def test_a_map_is_keys_and_values_in_order() -> None:
    text = "# comment\n\nk1 v1 with  spaces \nk2\tv2\n  k3 v3\nk1 again\n"
    entries = (("k1", "v1 with  spaces"), ("k2", "v2"), ("k3", "v3"), ("k1", "again"))
    assert read_map(text, "x") == entries
    assert shown("0x55 k1 v1 with  spaces\n0x56 k2 v2\n0x57 k3 v3\n0x58 k1 again\n") == entries


def test_a_key_without_a_value_is_named_by_line() -> None:
    with pytest.raises(HaproxyRefused, match=r"/m\.map:2: the key 'b' has no value"):
        read_map("a 1\nb\n", "/m.map")


def test_entries_go_out_in_commands_that_fit_the_buffer() -> None:
    entries = [(f"host{index}.example", "v" * 90) for index in range(1000)]
    payloads = list(_payloads(entries))
    assert max(len(payload) for payload in payloads) <= 8000
    assert "".join(payloads) == "".join(f"{key} {value}\n" for key, value in entries)


def test_prompts_for_payload_are_no_answer() -> None:
    assert _PAYLOAD_PROMPTS.sub("", "+ + + Committing") == "Committing"


def test_a_certificate_needs_its_own_key(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    file = CertificateFile(Path("/certs/site.pem"))
    good = files.server.read_text() + files.server_key.read_text()
    staged = tmp_path / "staged"
    staged.write_text(good)
    file.check(good, staged)
    assert len(fingerprint(good)) == 40
    for text, words in (
        (files.server.read_text() + files.client_key.read_text(), "the key does not belong to the certificate"),
        (files.server.read_text(), "damaged or missing"),
        (files.server_key.read_text(), "there is none in it"),
        ("", "there is none in it"),
    ):
        staged.write_text(text)
        with pytest.raises(HaproxyRefused, match=words):
            file.check(text, staged)


def test_what_a_certificate_needs_is_the_default() -> None:
    text = '[template]\nsrc = "a"\ndest = "/certs/site.pem"\napply = "haproxy-cert"\n'
    found = parse_resource("c.toml", text, prefix="", expand=str)
    assert (found.mode, found.format, str(found.applied_file)) == (0o600, "plain", "/certs/.site.pem.applied")
    found = parse_resource("c.toml", text.replace("haproxy-cert", "haproxy-map"), prefix="", expand=str)
    assert (found.mode, found.format, str(found.applied_file)) == (None, "haproxy", "/certs/site.pem.applied")
