"""Requests to the kernel's network: done one after the other, and the first that is refused is told."""

from __future__ import annotations

import socket

import pytest

from runtime.errors import KernelRefused
from runtime.networks import rtnetlink
from runtime.networks.kernel import NODAD
from tests.integration.announce.namespace import own_network


def test_several_are_done_at_once() -> None:
    with own_network():
        six = rtnetlink.address(1, "fd00:9::7", 64, flags=NODAD)  # as containers have it: of use at once
        rtnetlink.ask("begin", rtnetlink.address(1, "10.9.8.7", 24), six)
        for family, address in ((socket.AF_INET, "10.9.8.7"), (socket.AF_INET6, "fd00:9::7")):
            with socket.socket(family) as server:
                server.bind((address, 0))


def test_what_is_refused_is_told_and_the_rest_is_done() -> None:
    with own_network():
        rtnetlink.ask("begin", rtnetlink.address(1, "10.9.8.7", 24))
        again = rtnetlink.address(1, "10.9.8.7", 24)
        with pytest.raises(KernelRefused, match="cannot go on: File exists"):
            rtnetlink.ask("go on", again, rtnetlink.up(9999), rtnetlink.address(1, "10.9.8.6", 24))
        with pytest.raises(KernelRefused, match="cannot go on: No such device"):
            rtnetlink.ask("go on", rtnetlink.up(9999), again)
        with socket.socket() as server:
            server.bind(("10.9.8.6", 0))


def test_a_route_that_leads_nowhere_is_refused() -> None:
    with own_network(), pytest.raises(KernelRefused, match="cannot lead out: Network is unreachable"):
        rtnetlink.ask("lead out", rtnetlink.default_route(1, "10.9.8.1"))
