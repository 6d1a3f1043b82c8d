"""`[template.haproxy]`: one HAProxy by strings, several by lists."""

from __future__ import annotations

import pytest

from confd_py.errors import ResourceFault
from confd_py.resource import HaproxySettings, Place, parse_resource


def settings(lines: str) -> HaproxySettings:
    text = f'[template]\nsrc = "a"\ndest = "/x"\napply = "haproxy"\n[template.haproxy]\n{lines}\n'
    return parse_resource("c.toml", text, prefix="", expand=str).haproxy


def test_strings_name_one_haproxy() -> None:
    assert settings("").places == (Place(),)
    assert settings('socket = "/a"\nmaster_socket = "/m"').places == (Place("/a", "/m", ""),)


def test_lists_name_several() -> None:
    found = settings('socket = ["/a", "/b"]\nmaster_socket = ["/m", "/n"]\nstate_file = ["/s", "/t"]')
    assert found.places == (Place("/a", "/m", "/s"), Place("/b", "/n", "/t"))


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('socket = ["/a", "/b"]\nmaster_socket = "/m"', ":7: master_socket has to name one for each socket"),
        ('socket = ["/a", "/b"]\nstate_file = ["/s", "/s"]', ":7: state_file names one of them twice"),
        ("socket = []", ":6: socket has to name one for each socket"),
        ("socket = 5", ":6: socket has to be a string"),
    ],
)
def test_what_does_not_fit_is_refused(lines: str, fault: str) -> None:
    with pytest.raises(ResourceFault, match=fault):
        settings(lines)
