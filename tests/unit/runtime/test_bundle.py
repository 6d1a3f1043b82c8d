"""The bundle: as little power as it can run with, whatever spec and image say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engines import bundle, power
from runtime.engines.user import User
from runtime.errors import InvalidSpec
from runtime.model import ContainerSpec, IdMap, IdRange, ImageConfig, Limits, Mount, Ulimit

IMAGE = ImageConfig(entrypoint=("/entry",), command=("serve",), env={"A": "image", "B": "image"}, working_dir="/work")
AROUND = bundle.Surroundings(
    rootfs="/root",
    namespace="/ns",
    cgroup="/group",
    files={"/etc/hosts": "/h", "/etc/resolv.conf": "/r"},
    memory_files={},
    volumes={},
    init="/usr/bin/tini-static",
    user=User(home="/root"),
    open_files_limit=20000,
    swap_limited=True,
    seccomp={"defaultAction": "SCMP_ACT_ERRNO"},
    capabilities=power.CAPABILITIES,
    devices=(),
    device_rules=(),
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
    assert process["capabilities"]["bounding"] == list(power.CAPABILITIES)
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
    assert config["process"]["capabilities"]["bounding"] == list(power.CAPABILITIES)
    assert len(config["linux"]["namespaces"]) == 6
    assert config["linux"]["maskedPaths"] == list(power.MASKED)


@pytest.mark.parametrize(
    ("wishes", "gives"),
    [
        ({"cap_add": ("NET_ADMIN",)}, {*power.CAPABILITIES, "CAP_NET_ADMIN"}),
        ({"cap_drop": ("CAP_KILL",)}, {*power.CAPABILITIES} - {"CAP_KILL"}),
        ({"cap_drop": ("ALL",)}, set()),
        ({"cap_drop": ("ALL",), "cap_add": ("KILL",)}, {"CAP_KILL"}),
        ({"cap_add": ("ALL",)}, {*power.CAPABILITIES, "CAP_NET_ADMIN"}),
        ({"cap_add": ("ALL",), "cap_drop": ("KILL",)}, {*power.CAPABILITIES, "CAP_NET_ADMIN"} - {"CAP_KILL"}),
        ({"privileged": True}, {*power.CAPABILITIES, "CAP_NET_ADMIN"}),
    ],
)
def test_capabilities_are_added_and_dropped(wishes: dict[str, Any], gives: set[str]) -> None:
    ours = (*power.CAPABILITIES, "CAP_NET_ADMIN")
    assert set(power.capabilities(replace(SPEC, **wishes), ours)) == gives


def test_a_capability_that_cannot_be_is_named() -> None:
    with pytest.raises(InvalidSpec) as caught:
        power.capabilities(replace(SPEC, cap_add=("SYS_ADMIN", "FLYING")), power.CAPABILITIES)
    assert "CAP_FLYING is no capability" in caught.value.faults[0]
    assert "cannot give CAP_SYS_ADMIN" in caught.value.faults[1]


def test_capabilities_of_a_mask() -> None:
    assert power.named(0b101) == ("CAP_CHOWN", "CAP_DAC_READ_SEARCH")
    assert power.named((1 << 41) - 1)[-1] == "CAP_CHECKPOINT_RESTORE"


def test_ulimits_stand_beside_that_of_open_files() -> None:
    rlimits = made(replace(SPEC, ulimits=(Ulimit("core", 0, -1), Ulimit("nofile", 5, 6))))["process"]["rlimits"]
    assert rlimits == [
        {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
    ]


def test_a_privileged_container_sees_all() -> None:
    device = {"path": "/dev/x", "type": "c", "major": 1, "minor": 2}
    config = made(replace(SPEC, privileged=True), seccomp=None, devices=(device,))
    assert "maskedPaths" not in config["linux"] and "readonlyPaths" not in config["linux"]
    assert "seccomp" not in config["linux"] and config["linux"]["devices"] == [device]
    assert config["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert config["process"]["noNewPrivileges"] is False
    assert "ro" not in mounts(config)["/sys"]["options"] and "ro" in mounts(made())["/sys"]["options"]


def test_volumes_and_files_in_memory_are_mounts() -> None:
    volume = Mount("volume", "/data/", "db", read_only=True)
    config = made(replace(SPEC, mounts=(volume,)), volumes={"/data/": "/v"}, memory_files={"/data/secret": "/m"})
    order = [m["destination"] for m in config["mounts"]]
    assert mounts(config)["/data/"]["source"] == "/v" and "ro" in mounts(config)["/data/"]["options"]
    assert order.index("/data/") < order.index("/data/secret")
    assert "ro" in mounts(config)["/data/secret"]["options"]


def test_sysctls_of_the_network_are_not_the_engines() -> None:
    sysctls = {"net.core.somaxconn": "9", "kernel.msgmax": "8192"}
    assert made(replace(SPEC, sysctls=sysctls))["linux"]["sysctl"] == {"kernel.msgmax": "8192"}


def test_remapped_ids() -> None:
    assert not {"uidMappings", "gidMappings"} & set(made()["linux"])
    spec = replace(SPEC, mounts=(Mount("bind", "/b", "/srv"), Mount("volume", "/v", "data"), Mount("tmpfs", "/t")))
    ids = IdMap((IdRange(0, 100000, 65536),), (IdRange(0, 200000, 65536),))
    found = made(spec, userns="/pin", idmap=ids, volumes={"/v": "/data"}, memory_files={"/secret": "/m/0"})
    assert {"type": "user", "path": "/pin"} in found["linux"]["namespaces"]
    assert found["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert found["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 200000, "size": 65536}]
    mapped = [target for target, mount in mounts(found).items() if "idmap" in mount["options"]]
    assert mapped == ["/etc/hosts", "/etc/resolv.conf", "/v"], "a bind mount never: root would write as the host's root"
    assert not any("idmap" in mount["options"] for mount in made(spec, volumes={"/v": "/data"})["mounts"])


def test_without_a_control_group_nothing_needs_one() -> None:
    config = made(cgroup="")
    assert not {"cgroupsPath", "resources"} & set(config["linux"]) and "/sys/fs/cgroup" not in mounts(config)
    assert "oomScoreAdj" not in config["process"], "nobody but the machine's root lowers it"
