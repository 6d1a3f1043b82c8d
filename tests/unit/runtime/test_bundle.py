"""The bundle: as little power as it can run with, whatever spec and image say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines import bundle
from runtime.engines.user import User
from runtime.model import ContainerSpec, ImageConfig, Limits, Mount

IMAGE = ImageConfig(entrypoint=("/entry",), command=("serve",), env={"A": "image", "B": "image"}, working_dir="/work")
AROUND = bundle.Surroundings(
    rootfs="/root",
    namespace="/ns",
    cgroup="/group",
    files={"/etc/hosts": "/h", "/etc/resolv.conf": "/r"},
    init="/usr/bin/tini-static",
    user=User(home="/root"),
    open_files_limit=20000,
    swap_limited=True,
    seccomp={"defaultAction": "SCMP_ACT_ERRNO"},
)
SPEC = ContainerSpec("web.7", "image")


def made(spec: ContainerSpec = SPEC, image: ImageConfig = IMAGE, **around: Any) -> dict[str, Any]:
    return bundle.config(spec, image, replace(AROUND, **around))


def mounts(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {m["destination"]: m for m in config["mounts"]}


@pytest.mark.parametrize(
    ("entrypoint", "command", "runs"),
    [
        (None, None, ("/entry", "serve")),
        (None, ("other",), ("/entry", "other")),
        (None, (), ("/entry",)),
        (("/mine",), None, ("/mine",)),
        (("/mine",), ("x",), ("/mine", "x")),
        ((), ("x",), ("x",)),
        ((), None, ()),
    ],
)
def test_what_runs(entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None, runs: tuple[str, ...]) -> None:
    assert bundle.argv(replace(SPEC, entrypoint=entrypoint, command=command), IMAGE) == runs


def test_the_init_is_first_and_can_be_left_out() -> None:
    assert made()["process"]["args"] == ["/dev/init", "--", "/entry", "serve"]
    assert mounts(made())["/dev/init"]["source"] == "/usr/bin/tini-static"
    without = made(init="")
    assert without["process"]["args"] == ["/entry", "serve"]
    assert "/dev/init" not in mounts(without)


def test_the_environment_is_the_images_with_the_specs_on_top() -> None:
    env = dict(e.split("=", 1) for e in made(replace(SPEC, environment={"B": "spec", "C": "a=b"}))["process"]["env"])
    assert (env["A"], env["B"], env["C"]) == ("image", "spec", "a=b")
    assert env["HOSTNAME"] == "web.7" and env["HOME"] == "/root" and "/usr/bin" in env["PATH"]


def test_power_is_dropped() -> None:
    process = made()["process"]
    assert process["noNewPrivileges"] is True
    assert set(process["capabilities"]) == {"bounding", "effective", "permitted"}
    for wrong in ("CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_MKNOD", "CAP_SYS_PTRACE"):
        assert wrong not in process["capabilities"]["bounding"]
    assert made(user=User(uid=1))["process"]["capabilities"]["effective"] == []
    linux = made()["linux"]
    assert linux["seccomp"] and "/proc/kcore" in linux["maskedPaths"] and "/proc/sys" in linux["readonlyPaths"]
    assert {n["type"] for n in linux["namespaces"]} == {"pid", "ipc", "uts", "mount", "cgroup", "network"}
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]


@pytest.mark.parametrize(("limit", "wanted"), [(20000, 20000), (1 << 30, 1 << 20)])
def test_no_more_open_files_than_we_may_give(limit: int, wanted: int) -> None:
    assert made(open_files_limit=limit)["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": wanted, "hard": wanted}
    ]


@pytest.mark.parametrize(
    ("limits", "swap_limited", "wanted"),
    [
        (Limits(), True, {}),
        (Limits(cpus=0.5), True, {"cpu": {"period": 100000, "quota": 50000}}),
        (Limits(memory_bytes=1 << 26), True, {"memory": {"limit": 1 << 26, "swap": 1 << 26}}),
        (Limits(memory_bytes=1 << 26), False, {"memory": {"limit": 1 << 26}}),
        (Limits(pids=9), True, {"pids": {"limit": 9}}),
    ],
)
def test_limits(limits: Limits, swap_limited: bool, wanted: dict[str, Any]) -> None:
    found = made(replace(SPEC, limits=limits), swap_limited=swap_limited)["linux"]["resources"]
    assert {k: v for k, v in found.items() if k != "devices"} == wanted


def test_a_read_only_root_gets_scratch_unless_it_has_its_own() -> None:
    plain = mounts(made(replace(SPEC, read_only=True)))
    assert plain["/tmp"]["type"] == plain["/run"]["type"] == "tmpfs"
    own = Mount("bind", "/tmp", "/mine")
    config = made(replace(SPEC, read_only=True, mounts=(own,)))
    assert [m["source"] for m in config["mounts"] if m["destination"] == "/tmp"] == ["/mine"]
    assert config["root"]["readonly"] is True
    assert "/tmp" not in mounts(made())


def test_own_mounts_win_and_come_parents_first() -> None:
    own = (Mount("bind", "/a/b", "/2"), Mount("bind", "/a", "/1", read_only=True), Mount("bind", "/etc/hosts", "/mine"))
    config = made(replace(SPEC, mounts=own))
    order = [m["destination"] for m in config["mounts"]]
    assert order.index("/a") < order.index("/a/b")
    assert order.count("/etc/hosts") == 1 and mounts(config)["/etc/hosts"]["source"] == "/mine"
    assert "ro" in mounts(config)["/a"]["options"] and "rbind" not in mounts(config)["/a"]["options"]
    assert "rbind" in mounts(config)["/a/b"]["options"]


def test_a_tmpfs_has_its_size() -> None:
    config = made(replace(SPEC, mounts=(Mount("tmpfs", "/s", size_bytes=99),)))
    assert "size=99" in mounts(config)["/s"]["options"]


@given(
    st.builds(
        ContainerSpec,
        name=st.just("c"),
        image=st.just("i"),
        environment=st.dictionaries(st.text(min_size=1), st.text()),
        user=st.text(),
        read_only=st.booleans(),
        limits=st.builds(Limits, cpus=st.floats(0, 64), memory_bytes=st.integers(0, 1 << 50), pids=st.integers(0, 9)),
        hostname=st.text(),
    )
)
def test_no_spec_takes_protection_away(spec: ContainerSpec) -> None:
    config = json.loads(json.dumps(made(spec)))
    assert config["process"]["noNewPrivileges"] is True
    assert config["process"]["capabilities"]["bounding"] == list(bundle.CAPABILITIES)
    assert len(config["linux"]["namespaces"]) == 6
    assert config["linux"]["maskedPaths"] == list(bundle.MASKED)
