"""hecd serve: what it does not take, said before anything is asked of etcd."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from registrator.cli.serve import serve


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["web"], "Missing argument"),
        (["Web", "80:80"], "'Web' is no DNS label"),
        (["web", "80"], "'80' is not PUBLISHED:TARGET"),
        (["web", "80:70000"], "'80:70000' is not PUBLISHED:TARGET"),
        (["web", "0:80"], "'0:80' is not PUBLISHED:TARGET"),
        (["web", "80:80/udp"], "is not PUBLISHED:TARGET"),
        (["web", "80:80", "80:81"], "a port is published twice"),
        (["web", "80:80", "--hostname", "a b"], "'a b' is no host name"),
        (["web", "80:80", "--hostname", "*.*.x"], "is no host name"),
        (["web", "80:80", "--check-path", "ok"], "'ok' is no path"),
        (["web", "80:80", "--check-path", "/a b"], "'/a b' is no path"),
        (["web", "80:80", "--mode", "udp"], "'udp' is not one of"),
        (["web", "80:80", "--mode", "tcp", "--hostname", "x"], "--hostname needs --mode http"),
    ],
)
def test_bad_words_are_refused(words: list[str], said: str) -> None:
    result = CliRunner().invoke(serve, words)
    assert result.exit_code == 2 and said in result.output
