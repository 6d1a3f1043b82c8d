"""x-hecd.hooks and x-hecd.strategy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registrator.model.hook import Hook, Hooks
from registrator.model.service import ServiceSpec

One = Callable[..., ServiceSpec]


def test_hooks_are_read(one: One) -> None:
    assert one("").hooks == Hooks()
    keys = """
x-hecd:
  hooks:
    pre_deploy: {command: ./manage.py migrate --noinput, timeout: 10m, environment: [ROLE=owner, FROM_OUTSIDE]}
    post_deploy: {command: [purge, a b], entrypoint: []}
"""
    assert one(keys, {"FROM_OUTSIDE": "x"}).hooks == Hooks(
        Hook(("./manage.py", "migrate", "--noinput"), 600.0, None, {"ROLE": "owner", "FROM_OUTSIDE": "x"}),
        Hook(("purge", "a b"), 300.0, ()),
    )


@pytest.mark.parametrize(
    ("hooks", "fault"),
    [
        ("{pre_deploy: {timeout: 5m}}", "hooks.pre_deploy.command: is required"),
        ("{pre_deploy: {command: []}}", "hooks.pre_deploy.command: is an empty command"),
        ("{pre_deploy: {command: 'a \"'}}", "hooks.pre_deploy.command: can't be split into words"),
        ("{pre_deploy: {command: [a], timeout: 10ms}}", "hooks.pre_deploy.timeout: must be 1 s or longer"),
        ("{pre_deploy: {command: [a], retries: 3}}", "hooks.pre_deploy.retries: is not a key of x-hecd here"),
        ("{pre_deply: {command: [a]}}", "hooks.pre_deply: is not known; misspelt? Did you mean pre_deploy?"),
        ("{pre_deploy: {command: [a], environment: {'A=B': c}}}", "can't be the name of a variable"),
        ("[a]", "hooks: must be a mapping, such as {pre_deploy: {command: [./migrate]}}"),
    ],
)
def test_faults_of_hooks(faults: Callable[..., list[str]], hooks: str, fault: str) -> None:
    found = faults(f"x-hecd: {{hooks: {hooks}}}")
    assert any(fault in line for line in found), found


def blue_green(more: str = "", deploy: str = "{}") -> str:
    return f"ports: [1:1]\ndeploy: {{update_config: {deploy}}}\nx-hecd: {{strategy: blue-green{more}}}"


def test_blue_green_is_read(one: One) -> None:
    assert one("").update.strategy == "rolling"
    update = one(blue_green()).update
    assert (update.strategy, update.keep_s, update.parallelism) == ("blue-green", 600.0, 0)
    assert one(blue_green(", keep: 30s", "{parallelism: 5}")).update.keep_s == 30.0
    assert one(blue_green("", "{parallelism: 5}")).update.parallelism == 5


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("x-hecd: {strategy: blue-green}", "x-hecd.strategy: blue-green needs ports"),
        ("x-hecd: {strategy: red}", "x-hecd.strategy: must be rolling or blue-green; is 'red'"),
        ("x-hecd: {keep: 10m}", "x-hecd.keep: needs strategy: blue-green"),
        (blue_green("", "{order: stop-first}"), "order: does not go with x-hecd.strategy: blue-green"),
        (blue_green("", "{failure_action: continue}"), "failure_action: does not go with x-hecd.strategy: blue-green"),
        (blue_green("", "{delay: 1s}"), "delay: does not go with x-hecd.strategy: blue-green"),
    ],
)
def test_faults_of_blue_green(faults: Callable[..., list[str]], keys: str, fault: str) -> None:
    found = faults(keys)
    assert any(fault in line for line in found), found
