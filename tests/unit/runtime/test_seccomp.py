"""The default profile in the form of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime import confinement, policy
from runtime.confinement import Confinement
from runtime.engines.seccomp import profile, wider
from runtime.errors import InvalidSettings, InvalidSpec
from runtime.model import ContainerSpec

EQ = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
DEFAULT = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{**EQ, "valueTwo": 0}]},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
    ],
}


def names(
    *rules: dict[str, Any], caps: tuple[str, ...] = (), arch: str = "amd64", kernel: tuple[int, int] = (6, 1)
) -> list[str]:
    source = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
        {"names": [f"call{i}"], "action": "SCMP_ACT_ALLOW", **rule} for i, rule in enumerate(rules)
    ]}  # fmt: skip
    found = profile(source, caps, arch, kernel)
    assert found["architectures"] == ["SCMP_ARCH_X86_64" if arch == "amd64" else "SCMP_ARCH_AARCH64"]
    return [name for rule in found["syscalls"] for name in rule["names"]]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({}, True),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"excludes": {"arches": ["s390x"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.2"}}, False),
    ],
)
def test_conditions(rule: dict[str, Any], kept: bool) -> None:
    assert names(rule, caps=("CAP_CHOWN",)) == (["call0"] if kept else [])


def test_arguments_and_errors_are_kept() -> None:
    args = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]
    source = {"defaultAction": "a", "syscalls": [
        {"names": ["x"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": args, "comment": "no"},
        {"names": ["y"], "action": "SCMP_ACT_ALLOW", "args": None, "errnoRet": 1},
    ]}  # fmt: skip
    assert profile(source, (), "arm64", (6, 1))["syscalls"] == [
        {"names": ["x"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": args},
        {"names": ["y"], "action": "SCMP_ACT_ALLOW"},
    ]


def rule(*names: str, action: str = "ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": f"SCMP_ACT_{action}", **more}


@pytest.mark.parametrize(
    ("own", "more"),
    [
        ([], ()),
        ([rule("read")], ()),
        ([rule("read", args=[EQ])], ()),
        ([rule("socket", args=[EQ])], ()),
        ([rule("socket")], ("socket",)),
        ([rule("socket", args=[{**EQ, "value": 2}])], ("socket",)),
        ([rule("mount", "bpf", "read")], ("bpf", "mount")),
        ([rule("mount", action="LOG")], ("mount",)),
        ([rule("mount", action="ERRNO"), rule("bpf", action="KILL")], ()),
    ],
)
def test_what_a_profile_lets_through_beyond_another(own: list[dict[str, Any]], more: tuple[str, ...]) -> None:
    default = profile(DEFAULT, (), "amd64", (6, 1))
    made = profile({"defaultAction": "SCMP_ACT_KILL", "syscalls": own}, (), "amd64", (6, 1))
    assert wider(made, default) == more
    assert wider({**made, "defaultAction": "SCMP_ACT_ALLOW"}, default) == ("any",)


def test_only_what_the_host_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read")]}))
    (tmp_path / "link.json").symlink_to(own)
    confinement = Confinement(DEFAULT)

    def made(seccomp: str, using: Confinement = confinement, **more: Any) -> Any:
        return using.of(ContainerSpec("c", "i", seccomp=seccomp, **more), ())

    assert [r["names"] for r in made(str(own))["syscalls"]] == [["read"]], "narrower: anybody may"
    assert made("", privileged=True) is None and made(str(own), privileged=True) is not None
    own.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule(*"abcdefg")]}))
    with pytest.raises(InvalidSpec, match=r"a, b, c, d, e and 2 more\); `seccomp = \[\"/.*/own.json\"\]` in .*toml"):
        made(str(tmp_path / "link.json"))
    with pytest.raises(InvalidSpec, match=r"any system call\); `seccomp = \[\"unconfined\"\]` in"):
        made("unconfined")
    with pytest.raises(InvalidSpec, match="no default seccomp profile"):
        made(str(own), Confinement(None))
    policy.FILE.write_text(f'seccomp = ["unconfined", "{tmp_path}/own.json"]')
    assert made("unconfined") is None and made(str(tmp_path / "link.json")) is not None
    assert made(str(own), Confinement(None)) is not None and Confinement(None).of(ContainerSpec("c", "i"), ()) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"defaultAction": "SCMP_ACT_ERRNO",\n "syscalls": }', r"own.json:2: it is no JSON: Expecting value"),
        ("[]", r"own.json: \[\] is not of type 'object'"),
        ("{}", r"own.json: 'defaultAction' is a required property"),
        ('{"defaultAction": "DENY"}', r"own.json: defaultAction: 'DENY' is not one of"),
        ('{"defaultAction": "SCMP_ACT_NOTIFY"}', "is not one of"),
        ('{"defaultAction": "SCMP_ACT_KILL", "syscalls": {}}', "syscalls: {} is not of type 'array'"),
        (
            '{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"names": [], "action": "x"}]}',
            r"syscalls\[0\].action: 'x'",
        ),
        ("[" * 100_000, "no seccomp profile"),
        ("\udcff", "no seccomp profile"),
        (" " * ((1 << 20) + 1), "larger than 1 MiB"),
    ],
)
def test_faults_of_a_profile(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "own.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidSettings, match=fault):
        confinement.read(str(tmp_path / "own.json"))


def test_a_profile_that_is_not_there() -> None:
    with pytest.raises(InvalidSpec, match=r"/none.json cannot be read: No such file"):
        confinement.read("/none.json")
