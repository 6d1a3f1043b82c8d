"""What a name server of a host answers."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest

from runtime.networks.zone import answer

NAMES = {
    "both": ["10.87.9.2", "fd00::2"],
    "four": ["10.87.9.3"],
    "six": ["fd00::3"],
    "a" * 63: [f"fd00:1111:2222:3333:4444:5555:6666:{n:x}" for n in range(0x1111, 0x1131)],
}


def asked(name: str, kind: str) -> dns.message.Message:
    wire = answer(dns.message.make_query(name, kind), NAMES, lambda found, count: list(found)[:count])
    assert wire is not None and len(wire) <= 512
    return dns.message.from_wire(wire)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("both", "A", ["10.87.9.2"]),
        ("both.hecd", "AAAA", ["fd00::2"]),
        ("both", "ANY", ["10.87.9.2"]),
        ("four.hecd", "AAAA", []),
        ("six", "A", []),
        ("both", "MX", []),
    ],
)
def test_a_name_that_is_there_is_never_denied(name: str, kind: str, found: list[str]) -> None:
    reply = asked(name, kind)
    assert reply.rcode() == dns.rcode.NOERROR
    assert [item.address for rrset in reply.answer for item in rrset] == found


def test_a_name_that_is_not_there_is_denied_and_many_addresses_are_cut_to_a_datagram() -> None:
    assert asked("other.hecd", "AAAA").rcode() == dns.rcode.NXDOMAIN
    assert len(asked(f"{'a' * 63}.hecd", "AAAA").answer[0]) == 14
