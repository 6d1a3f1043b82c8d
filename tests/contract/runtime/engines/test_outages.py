"""What only engines behind a socket can do: be away, be restarted, be used by somebody else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from runtime.docker.connection import Connection
from runtime.errors import ContainerExists, ContainerNotFound, EngineAway, InvalidSpec, OtherEngine
from runtime.host import Host
from runtime.model import ContainerSpec, PublishedPort, State
from runtime.process import readable
from tests.contract.runtime.engines.conftest import Engine, Root
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import IMAGE, answers, becomes, run, texts


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, network: None) -> Iterator[Engine]:
    found: Engine = request.getfixturevalue(request.param)
    yield found
    assert found.daemon is not None
    try:
        assert Connection(Path(found.socket)).is_podman == (found.name == "podman")
    except EngineAway:
        found.daemon.start()  # the test has failed on the way


def test_the_engine_away_is_said_and_containers_run_on(host: Host, engine: Engine, root: Root) -> None:
    assert engine.daemon is not None
    web = run(host, "web")
    fd = host.containers.exit_fd("web") or -1
    engine.daemon.kill()
    for call in (
        lambda: host.containers.inspect("web"),
        host.containers.list,
        lambda: host.containers.create(ContainerSpec("other", IMAGE)),
        lambda: host.containers.signal("web", "TERM"),
        lambda: host.containers.exit_fd("web"),
        lambda: host.inside.exec_probe("web", ["/bin/true"], 1.0),
        lambda: list(host.inside.logs("web")),
        lambda: host.images.resolve(IMAGE),
        root.open,
    ):
        with pytest.raises(EngineAway) as told:
            call()
        assert told.value.retry_after_s > 0 and engine.socket in told.value.brief and told.value.hint
    assert "hello" in answers(web.address), "it runs on"
    engine.daemon.start()
    becomes(lambda: host.containers.inspect("web").state is State.RUNNING, 10.0)
    assert not readable(fd, 0.5), "and nobody says that it ended"
    host.containers.signal("web", "KILL")
    assert readable(fd, 30.0), "its end is heard of through the new connection"
    os.close(fd)


def test_an_end_while_the_engine_was_away_is_learnt_of(host: Host, engine: Engine) -> None:
    assert engine.daemon is not None
    web = run(host, "web", "/bin/sleep", "60")
    fd = host.containers.exit_fd("web") or -1
    engine.daemon.kill()
    os.kill(web.pid or -1, 9)
    engine.daemon.start()
    assert readable(fd, 30.0)
    os.close(fd)
    ended = host.containers.inspect("web")
    assert ended.state in (State.EXITED, State.LOST)
    assert host.containers.start("web").address == web.address


def test_an_end_is_heard_of_without_asking_again_and_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run(host, "web", "/bin/sleep", "60")
    fd = host.containers.exit_fd("web") or -1
    asked: list[float] = [time.monotonic()]
    original = Connection.asking

    def asking(self: Connection) -> AbstractContextManager[Any]:
        asked.append(time.monotonic())
        return original(self)

    monkeypatch.setattr(Connection, "asking", asking)
    # It looks when the subscription has been made, and at each event of the start, which may come late.
    becomes(lambda: time.monotonic() - asked[-1] > 2.5, 30.0, lambda: "events ring; nobody polls")
    assert not readable(fd, 0.0)
    host.containers.signal("web", "KILL")
    assert readable(fd, 20.0)
    os.close(fd)


def test_a_restart_by_somebody_else_is_an_end_and_the_next_start_connects_again(host: Host, engine: Engine) -> None:
    port = free_port()
    web = run(host, "web", ports=(PublishedPort(port, 80),))
    fd = host.containers.exit_fd("web") or -1
    with Connection(Path(engine.socket)).asking() as api:
        api.restart("web", timeout=5)
    assert readable(fd, 30.0), "that run has ended"
    os.close(fd)
    again = host.containers.start("web")
    assert again.address == web.address and again.pid != web.pid
    assert "hello" in answers(web.address) and "hello" in answers("127.0.0.1", port)


def test_containers_of_others_are_left_alone(host: Host, engine: Engine) -> None:
    limits = [{"Name": name, "Soft": 1024, "Hard": 1024} for name in ("nproc", "nofile")]
    given = {"NetworkMode": "none", "Ulimits": limits}
    body = {"Image": host.images.resolve(IMAGE).ref, "Cmd": ["/bin/sleep", "60"], "HostConfig": given}
    with Connection(Path(engine.socket)).asking() as api:
        api.create_container_from_config(body, "theirs")
        api.start("theirs")
    try:
        with pytest.raises(ContainerExists, match="exists already") as told:
            host.containers.create(ContainerSpec("theirs", IMAGE))
        assert "Another program" in told.value.hint
        host.containers.remove("theirs")
        with pytest.raises(ContainerNotFound):
            host.containers.signal("theirs", "KILL")
        assert host.containers.list() == []
        with Connection(Path(engine.socket)).asking() as api:
            assert api.inspect_container("theirs")["State"]["Running"]
    finally:
        with Connection(Path(engine.socket)).asking() as api:
            api.remove_container("theirs", force=True)


def test_a_name_of_one_letter_is_refused(host: Host) -> None:
    with pytest.raises(InvalidSpec, match="two characters"):
        host.containers.create(ContainerSpec("x", IMAGE))


def test_a_root_with_containers_keeps_its_engine(host: Host, root: Root) -> None:
    run(host, "web")
    with pytest.raises(OtherEngine, match=root.engine.name) as told:
        root.open(engine="oci", socket="")
    assert "web" in told.value.details
    assert "hello" in answers(host.containers.inspect("web").address), "nothing was swept away"
    host.containers.remove("web")
    root.open(engine="oci", socket="").close()
    root.open().close()


def test_what_a_crash_left_is_swept(host: Host, root: Root) -> None:
    run(host, "web")
    with Connection(Path(root.engine.socket)).asking() as api:
        api.remove_container("web", force=True)  # as if we had died half-way through `remove`
    root.open().close()
    assert not list((root.folder / "run" / "netns").iterdir())
    assert texts(host, run(host, "web", "/bin/echo", "new").name) in ([], ["new"])
