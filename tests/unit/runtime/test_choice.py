"""Which engine a root has: asked for, else what it was last, else our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.choice import Choice, chosen
from runtime.errors import InvalidSpec, OtherEngine
from runtime.paths import HostPaths


@pytest.fixture
def paths(tmp_path: Path) -> HostPaths:
    found = HostPaths(tmp_path / "lib", tmp_path / "run")
    found.make()
    return found


@pytest.mark.parametrize(
    ("engine", "socket", "environ", "expected"),
    [
        ("", "", {}, Choice()),
        ("", "", {"DOCKER_HOST": "unix:///x"}, Choice()),
        ("oci", "", {}, Choice()),
        ("", "/s/d.sock", {}, Choice("docker", "/s/d.sock")),
        ("docker", "", {}, Choice("docker", str(Path("/var/run/docker.sock").resolve()))),
        ("docker", "", {"DOCKER_HOST": "unix:///s/other"}, Choice("docker", "/s/other")),
        ("podman", "", {"DOCKER_HOST": "unix:///s/other"}, Choice("podman", "/run/podman/podman.sock")),
        ("podman", "unix:///s/p.sock", {}, Choice("podman", "/s/p.sock")),
    ],
)
def test_what_is_asked_for(
    paths: HostPaths, engine: str, socket: str, environ: dict[str, str], expected: Choice
) -> None:
    assert chosen(paths, engine, socket, (), environ) == expected
    assert chosen(paths, "", "", ("web",), {}) == expected, "it is remembered"


@pytest.mark.parametrize(
    ("engine", "socket"), [("lxc", ""), ("oci", "/s"), ("docker", "tcp://10.0.0.1:2375"), ("", "relative")]
)
def test_what_cannot_be(paths: HostPaths, engine: str, socket: str) -> None:
    with pytest.raises(InvalidSpec):
        chosen(paths, engine, socket, (), {})


def test_containers_keep_their_engine(paths: HostPaths) -> None:
    with pytest.raises(OtherEngine, match="has containers of the engine 'oci'") as told:
        chosen(paths, "docker", "/s", ("b", "a"), {})
    assert told.value.details == ("a, b",)
    assert chosen(paths, "docker", "/s", (), {}) == Choice("docker", "/s")
    with pytest.raises(OtherEngine):
        chosen(paths, "docker", "/t", ("a",), {})


def test_a_damaged_note_is_none(paths: HostPaths) -> None:
    paths.engine_file.write_text('{"engine": 5')
    assert chosen(paths, "", "", (), {}) == Choice()
