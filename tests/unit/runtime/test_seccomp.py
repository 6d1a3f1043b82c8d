"""The default profile in the form of a bundle."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.engines.seccomp import profile


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
