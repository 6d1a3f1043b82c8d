"""hecd-runtime as an ordinary user calls it, whose containers live in namespaces that rootlesskit keeps."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runtime.errors import NotPermitted
from runtime.host import Host
from runtime.images.build import LayerFiles, build_image, directory
from runtime.model import ImageConfig
from tests.fakes.ports import free_port
from tests.integration.announce.namespace import own_network
from tests.integration.runtime.conftest import BASE, SERVE, answers, becomes
from tests.integration.runtime.ordinary_user import User, ordinary_user

IMAGE = "hecd/user:1"
SERVING = ("/bin/sh", "-c", f"echo up; exec {' '.join(SERVE)}")
WAITING = ("/bin/sh", "-c", "echo up; sleep 1000")
INSIDE = ["0", "/d:", "old", "/srv:", "index.html"]  # the user, and what the second layer leaves of the first
OUTSIDE = "192.0.2.1"  # an address of the host, which is a network namespace of this test


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """Has the test image. In the end, nothing is left but images."""
    with own_network(), ordinary_user() as found:
        subprocess.run(["ip", "addr", "add", OUTSIDE, "dev", "lo"], check=True)
        old: LayerFiles = {"srv/old": b"", "d": directory(0o755), "d/old": b"", "d/gone": b""}
        new = {"srv/.wh..wh..opq": b"", "srv/index.html": b"hello\n", "d/.wh.gone": b""}
        build_image(found.folder / "layout", IMAGE, [{**BASE, **old}, new], ImageConfig(command=SERVE))
        done(found, "image", "load", str(found.folder / "layout"))
        yield found
        becomes(lambda: found.processes() == [], what=lambda: f"left: {found.processes()}")
        places = ("lib/runtime/containers", "run/runtime/containers", "run/runtime/netns", "run/runtime/oci")
        assert [left for place in places for left in (found.root / place).iterdir()] == []
        assert not (found.root / "run/runtime/keeper/state").exists()


def done(user: User, *words: str) -> str:
    result = user.call(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout


@contextmanager
def calling(user: User, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(user.argv(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as caller:
        try:
            yield caller
        finally:
            caller.kill()


def refused(user: User, *words: str) -> tuple[int, str]:
    result = user.call("run", "--name", "refused", *words, IMAGE)
    return result.returncode, result.stderr.splitlines()[0].removeprefix("hecd-runtime: ")


def states(user: User) -> dict[str, str]:
    return {found["name"]: found["state"] for found in json.loads(done(user, "ps", "-a", "-o", "json"))}


def test_a_container_is_run_reached_and_looked_into(user: User) -> None:
    port = free_port()
    done(user, "run", "-d", "--name", "web", "-p", f"{port}:80", IMAGE, *SERVING)
    assert "hello" in answers("127.0.0.1", port) and "hello" in answers(OUTSIDE, port)
    with socket.create_server((OUTSIDE, 0)) as server:
        server.settimeout(10.0)
        script = f"id -u; ls /srv /d; nc {OUTSIDE} {server.getsockname()[1]} </dev/null"
        with calling(user, "exec", "web", "/bin/sh", "-c", script) as caller:
            server.accept()[0].close()
            assert caller.stdout is not None and caller.stdout.read().decode().split() == INSIDE
    assert done(user, "logs", "web") == "up\n"
    assert refused(user, "-p", f"{port}:80") == (1, f"port {port}/tcp is taken already, by another container")
    assert refused(user, "-p", "81:80") == (6, "port 81/tcp can be published by root only")
    with pytest.raises(NotPermitted, match=f"is of user {user.uid}"):
        Host.open(user.root / "lib/runtime", user.root / "run/runtime")
    done(user, "stop", "web")
    becomes(lambda: user.processes() == [], what=lambda: "the keeper stays though nothing runs")
    assert states(user) == {"web": "exited"}, "it is known beyond the end of the keeper"
    done(user, "rm", "web")


def test_the_command_inside_shares_the_fate_of_the_one_outside(user: User) -> None:
    assert user.call("run", "--rm", IMAGE, "/bin/sh", "-c", "exit 7").returncode == 7
    with calling(user, "run", "--name", "one", IMAGE, *WAITING) as caller:
        assert caller.stdout is not None and caller.stdout.readline() == b"up\n"
        assert len(user.processes("--name one ")) == 2
        caller.kill()
        becomes(lambda: user.processes("--name one ") == [])
    with calling(user, "run", "--rm", "--name", "two", IMAGE, *WAITING) as caller:
        assert caller.stdout is not None and caller.stdout.readline() == b"up\n"
        caller.send_signal(signal.SIGINT)
        assert caller.wait(10.0) == 128 + signal.SIGTERM, "what the container was stopped with"
    assert states(user) == {"one": "running"}, "the first was only looked at, and the second is removed"
    done(user, "rm", "-f", "one")


def test_a_killed_keeper_is_as_a_power_cut(user: User) -> None:
    port = free_port()
    done(user, "run", "-d", "--name", "web", "-p", f"{port}:80", "--restart", "always", IMAGE)
    for process in user.processes("httpd -f"):
        process.signal(signal.SIGKILL)
        assert process.wait(30.0)
    becomes(lambda: states(user) == {"web": "running"}, what=lambda: "it is not run again")
    for process in user.processes("rootlesskit --state-dir"):
        process.signal(signal.SIGKILL)
    becomes(lambda: user.processes() == [], what=lambda: f"left: {user.processes()}")
    assert states(user) == {"web": "lost"}
    done(user, "start", "web")
    assert "hello" in answers("127.0.0.1", port)
    found = json.loads(done(user, "doctor", "-o", "json"))
    assert [line for line in found if line["state"] in ("missing", "left")] == []
    done(user, "rm", "-f", "web")
