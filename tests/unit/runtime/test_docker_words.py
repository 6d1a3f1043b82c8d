"""Descriptions in Docker's words, and what Docker says in ours."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.docker import body, seen
from runtime.docker.frames import Demux, frames
from runtime.docker.lines import lines
from runtime.model import ContainerSpec, Limits, LogLimits, Mount, PublishedPort, Restart, State, Ulimit

AROUND = body.Around(
    root="0123abcd",
    image="sha256:id",
    digest="sha256:digest",
    user="",
    address="10.87.0.5",
    files={"/etc/hosts": "/h"},
    memory_files={},
    ulimits={"nofile": 1024},
    capabilities=("CAP_CHOWN", "CAP_KILL"),
)
SPEC = ContainerSpec(
    "web.1",
    "shop:1",
    command=("serve", "--fast"),
    environment={"A": "b=c"},
    mounts=(Mount("bind", "/data", source="/srv", read_only=True), Mount("tmpfs", "/fast", size_bytes=4096)),
    limits=Limits(cpus=0.5, memory_bytes=1 << 26, pids=9),
    labels={"team": "blue", body.ROOT_LABEL: "somebody else's"},
    ports=(PublishedPort(80, 8080),),
)
NEVER = "0001-01-01T00:00:00Z"
FOUND: dict[str, Any] = {
    "Id": "c0ffee",
    "Name": "/web.1",
    "Created": "2026-11-27T07:44:43.694024541Z",
    "Config": {"Labels": body.container(SPEC, AROUND)["Labels"]},
    "State": {"Status": "created", "Pid": 0, "ExitCode": 0, "StartedAt": NEVER, "FinishedAt": NEVER},
}
STARTED = "2026-11-27T08:00:00.5Z"
STARTED_AT = 1795766400.5


def state(status: str, code: int = 0, **more: object) -> dict[str, Any]:
    times = {"StartedAt": STARTED, "FinishedAt": "2026-11-27T08:00:01Z"}
    return {**FOUND, "State": {"Status": status, "Pid": 0, "ExitCode": code, **times, **more}}


def test_a_description_comes_back_as_it_was() -> None:
    found = seen.container_of(FOUND, 0.0)
    assert found.spec == SPEC and (found.address, found.image_digest) == ("10.87.0.5", "sha256:digest")
    assert (found.state, found.started_at, found.exit_code) == (State.CREATED, None, None)
    assert seen.is_ours(FOUND, "0123abcd") and not seen.is_ours(FOUND, "other")
    assert not seen.is_ours({"Config": {"Labels": None}}, "0123abcd")


def test_what_is_not_given_is_left_to_the_image() -> None:
    made = body.container(ContainerSpec("web", "shop:1"), AROUND)
    assert not {"Entrypoint", "Cmd", "StopSignal"} & set(made)
    assert body.container(ContainerSpec("web", "shop:1", entrypoint=()), AROUND)["Entrypoint"] == []


def test_limits_mounts_and_power() -> None:
    host = body.container(SPEC, AROUND)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (5 * 10**8, 1 << 26, 1 << 26, 9)
    assert [(m["Target"], m["ReadOnly"]) for m in host["Mounts"]] == [("/etc/hosts", False), ("/data", True)]
    assert host["Tmpfs"] == {"/fast": "rw,exec,nosuid,nodev,mode=1777,size=4096"}
    assert host["NetworkMode"] == "none" and host["CapDrop"] == ["ALL"] and host["CapAdd"] == ["CHOWN", "KILL"]
    read_only = body.container(replace(SPEC, read_only=True), AROUND)["HostConfig"]
    assert set(read_only["Tmpfs"]) == {"/fast", "/run", "/tmp"}


def test_further_wishes() -> None:
    spec = replace(
        SPEC,
        mounts=(Mount("volume", "/v", source="vol", read_only=True),),
        ulimits=(Ulimit("nofile", 5, 10), Ulimit("core", 0, 0)),
        sysctls={"net.core.somaxconn": "9"},
        group_add=("audio", "5"),
        tty=True,
        stdin_open=True,
        no_new_privileges=False,
        log=LogLimits(8192, 3),
    )
    made = body.container(spec, replace(AROUND, memory_files={"/run/secret": "/m/0"}))
    host = made["HostConfig"]
    assert (made["Tty"], made["OpenStdin"], made["StdinOnce"]) == (True, True, False)
    assert host["Mounts"][1] == {"Type": "volume", "Target": "/v", "Source": "vol", "ReadOnly": True}
    assert (host["Mounts"][2]["Target"], host["Mounts"][2]["ReadOnly"]) == ("/run/secret", True)
    limits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]}
    assert limits == {"nofile": (5, 10), "core": (0, 0)}
    assert host["Sysctls"]["net.core.somaxconn"] == "9" and host["GroupAdd"] == ["audio", "5"]
    assert host["LogConfig"]["Config"] == {"max-size": "8192", "max-file": "3"} and host["SecurityOpt"] == []
    whole = body.container(replace(spec, privileged=True), AROUND)["HostConfig"]
    assert whole["Privileged"] and "CapAdd" not in whole and whole["SecurityOpt"] == []
    assert "UsernsMode" not in host
    assert body.container(replace(SPEC, userns="host"), AROUND)["HostConfig"]["UsernsMode"] == "host"
    for privileged, wanted in ((False, ["no-new-privileges", "seccomp={}"]), (True, ["seccomp={}"])):
        made = body.container(replace(SPEC, privileged=privileged), replace(AROUND, seccomp="{}"))
        assert made["HostConfig"]["SecurityOpt"] == wanted


def test_a_restart_policy_is_refused() -> None:
    assert body.faults(SPEC) == ()
    (fault,) = body.faults(replace(SPEC, restart=Restart("always")))
    assert "without its network" in fault


@pytest.mark.parametrize(
    ("user", "images", "power"),
    [("", "", True), ("root", "app", True), ("0:5", "", True), ("app", "", False), ("", "1000", False)],
)
def test_none_but_root_has_capabilities(user: str, images: str, power: bool) -> None:
    made = body.container(replace(SPEC, user=user), replace(AROUND, user=images))
    assert bool(made["HostConfig"]["CapAdd"]) == power


@pytest.mark.parametrize(
    ("found", "booted_at", "expected"),
    [
        (state("running", Pid=7), 0.0, (State.RUNNING, None, None, 7)),
        (state("paused", Pid=7), 0.0, (State.RUNNING, None, None, 7)),
        (state("exited", 3), 0.0, (State.EXITED, 3, None, None)),
        (state("exited", 137), 0.0, (State.EXITED, 137, "SIGKILL", None)),
        (state("exited", 255), STARTED_AT - 1, (State.EXITED, 255, None, None)),
        (state("exited", 255), STARTED_AT + 1, (State.LOST, None, None, None)),
        (state("dead", 0), 0.0, (State.LOST, None, None, None)),
    ],
)
def test_states(found: dict[str, Any], booted_at: float, expected: tuple[object, ...]) -> None:
    c = seen.container_of(found, booted_at)
    assert (c.state, c.exit_code, c.signal, c.pid) == expected
    assert c.started_at == STARTED_AT


def test_want_of_memory() -> None:
    assert seen.container_of(state("exited", 137, OOMKilled=True), 0.0).oom_killed
    assert not seen.container_of(state("exited", 0, OOMKilled=True), 0.0).oom_killed


def test_each_run_has_a_word_of_its_own() -> None:
    assert seen.run_of(state("running", Pid=7)) not in ("", seen.run_of(state("running", Pid=8)))
    assert seen.run_of(state("exited")) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-27T08:00:00Z", 1795766400.0),
        ("2026-11-27T08:00:00.123456789Z", 1795766400.123456),
        ("2026-11-27T09:00:00.5+01:00", STARTED_AT),
        ("2026-11-27T09:00:00+01:00", 1795766400.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_moments(text: object, expected: float | None) -> None:
    assert seen.moment(text) == expected


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_come_back_however_they_are_cut(sent: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(frame(*part) for part in sent)
    demux = Demux()
    found: list[tuple[str, bytes]] = []
    for at in range(0, len(data), size):
        found += demux.feed(data[at : at + size])
    wanted = [({1: "stdout", 2: "stderr"}[stream], text) for stream, text in sent]
    assert found == wanted
    rest = iter([data])
    buffer = bytearray(next(rest))

    def read(count: int) -> bytes:
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    assert list(frames(read)) == wanted


def test_lines_are_joined_by_stream() -> None:
    at = b"2026-11-27T08:00:00.5Z "
    told = [("stdout", at + b"a"), ("stderr", at + b"x\n"), ("stdout", at + b"b\n"), ("stdout", b"no time")]
    told.append(("stdout", at + b"end"))
    assert [(x.stream, x.text) for x in lines(told)] == [("stderr", "x"), ("stdout", "ab"), ("stdout", "end")]
    endless = [("stdout", at + b"y" * 16384)] * 5
    assert [len(x.text) for x in lines(endless)] == [65536, 16384], "a line without end is cut, not kept"


def test_the_label_is_json_that_old_versions_can_lack_parts_of() -> None:
    text = json.loads(body.container(SPEC, AROUND)["Labels"][body.SPEC_LABEL])
    assert text["name"] == "web.1" and text["labels"]["team"] == "blue"
