"""hecd serve: what is typed and what comes of it; what it does not take, said before anything is asked of etcd."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from registrator.cli.serve import serve
from registrator.model.traffic import Check, Port, Tls, Traffic
from registrator.spec.words import traffic_of_words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["web"], "Missing argument"),
        (["Web", "80:80"], "'Web' is no DNS label"),
        (["web", "80"], "'80': must be PUBLISHED:TARGET, as 80:80"),
        (["web", "80:70000"], "'80:70000': a port is a number from 1 to 65535; is '70000'"),
        (["web", "0:80"], "'0:80': a port is a number from 1 to 65535; is '0'"),
        (["web", "80:80/udp"], "'80:80/udp': the load balancer serves tcp only"),
        (["web", "80:80", "80:81"], "'80:81': port 80 is published twice"),
        (["web", "80:80", "--hostname", "a b"], "--host: must be a host name, such as web.example or *.example"),
        (["web", "80:80", "--host", "*.*.x"], "--host: must be a host name"),
        (["web", "80:80", "--path", "api"], "--path: must be a path such as /api"),
        (["web", "80:80", "--path", "/a/../b"], "--path: must be a path such as /api"),
        (["web", "80:80", "--strip-path"], "--strip-path: needs paths: there is nothing to strip"),
        (
            ["web", "80:80", "--tls"],
            '--tls: no port 443 of mode http is published here: add "443:80" to ports, or say --',
        ),
        (["web", "443:80", "--tls-port", "8443"], "--tls: no port 8443 of mode http is published here"),
        (["web", "443:80", "--mode", "tcp", "--tls"], "--tls: no port 443 of mode http is published here"),
        (["web", "80:80", "--check-path", "ok"], "--check-path: must be a path that begins with /"),
        (["web", "80:80", "--check-path", "/a b"], "--check-path: must be a path that begins with / and has no spaces"),
        (["web", "80:80", "--mode", "udp"], "'udp' is not one of"),
        (["web", "80:80", "--mode", "tcp", "--host", "x"], "--host: needs a port of mode http"),
        (["web", "80:80", "--mode", "tcp", "--path", "/x"], "--path: needs a port of mode http"),
    ],
)
def test_bad_words_are_refused(words: list[str], said: str) -> None:
    result = CliRunner().invoke(serve, words)
    assert result.exit_code == 2 and said in result.output


def test_all_faults_come_at_once() -> None:
    result = CliRunner().invoke(serve, ["web", "80", "--host", "a b", "--path", "x", "--tls"])
    assert all(word in result.output for word in ("'80': ", "--host: ", "--path: ", "--tls: "))


def test_good_words_are_what_a_compose_file_would_say() -> None:
    traffic, faults = traffic_of_words(
        "web",
        ["80:8080", "8443:8080"],
        hosts=["WWW.example.com"],
        paths=["/api/"],
        strip_path=True,
        tls_port=8443,
        check_path="/ok",
    )
    first = Port(80, 8080, hostnames=("www.example.com",), paths=("/api",), strip_path=True)
    ports = (first, replace(first, published=8443))
    assert (traffic, faults) == (Traffic(ports, check=Check("/ok"), tls=Tls(8443)), [])
    assert traffic_of_words("db", ["5432:5432"], mode="tcp") == (Traffic((Port(5432, 5432, "tcp"),)), [])
