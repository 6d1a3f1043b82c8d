"""The insides of containers: commands that are run there, and what they write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from runtime import execute, logs
from runtime.admission import check_ids, our_capabilities
from runtime.attach import Attached
from runtime.engines import bundle, power, user
from runtime.errors import NotRunning, mapped
from runtime.images.rootfs import read_inside
from runtime.logs import Window
from runtime.model import LogLine, Manner, State
from runtime.paths import HostPaths
from runtime.ports import AS_IT_IS, Containers, Engine


class OciInside:
    """Of containers that an OCI runtime runs. See ports.Inside."""

    def __init__(self, paths: HostPaths, engine: Engine, containers: Containers) -> None:
        self._paths = paths
        self._engine = engine
        self._containers = containers

    @mapped()
    def exec_probe(self, name: str, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run a command inside: exit code, and the end of what it wrote. At the deadline it is killed inside, and the
        code is 124. Raises ContainerNotFound, NotRunning."""
        process = execute.with_argv(self._process(name), argv)
        return execute.probe(self._engine, name, process, timeout_s, self._paths.bundle(name))

    @mapped()
    def exec_interactive(self, name: str, argv: Sequence[str], tty: bool = False, manner: Manner = AS_IT_IS) -> int:
        """Run a command inside on this process's own stdio, or on a terminal that is shown there; its exit code, 0 if
        the person detached. Raises ContainerNotFound, NotRunning, InvalidSpec for a user that the container has not."""
        process = self._in_manner(name, execute.with_argv(self._process(name), argv, terminal=tty), manner)
        if tty:
            return execute.on_terminal(self._engine, name, process, self._paths.bundle(name)) or 0
        return execute.interactive(self._engine, name, process, self._paths.bundle(name))

    @mapped()
    def attach(self, name: str) -> Attached:
        """The streams of its first process, from now on. The caller closes it.
        Raises ContainerNotFound, RuntimeFault."""
        self._containers.inspect(name)
        return Attached(self._paths.bundle(name))

    def logs(
        self, name: str, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogLine]:
        """What it wrote, of all its starts and as far as it is kept, or the last `tail` lines of that; `since` and
        `until` have to be aware of their time zones. Raises ContainerNotFound."""
        self._containers.inspect(name)
        return logs.read(self._paths.log(name), Window(tail, since, until))

    def follow_logs(
        self, name: str, tail: int | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[LogLine]:
        """The same, and what it writes from now on until it ends, or `until`. Raises ContainerNotFound."""
        self._containers.inspect(name)
        return logs.follow(self._paths.log(name), Window(tail, since, until), lambda: self._containers.exit_fd(name))

    @mapped()
    def tail(self, name: str, n: int) -> Sequence[str]:
        """The text of the last `n` lines it wrote. Raises ContainerNotFound."""
        self._containers.inspect(name)
        return [line.text for line in logs.last(self._paths.log(name), n)]

    def _in_manner(self, name: str, process: dict[str, Any], manner: Manner) -> dict[str, Any]:
        """The process, run otherwise than the container's own."""
        whose, home = self._whose(name, manner.user) if manner.user else ({}, {})
        own = dict(line.partition("=")[::2] for line in process["env"])
        environment = {**own, **home, **manner.environment}
        cwd = {"cwd": manner.working_dir} if manner.working_dir else {}
        return {**process, **whose, **cwd, "env": [f"{key}={value}" for key, value in environment.items()]}

    def _whose(self, name: str, wanted: str) -> tuple[dict[str, Any], dict[str, str]]:
        """User and power of a process that is another user's, and where that one is at home."""
        container, rootfs = self._containers.inspect(name), self._paths.rootfs(name)
        passwd, group = read_inside(rootfs, "/etc/passwd"), read_inside(rootfs, "/etc/group")
        who = user.resolve(wanted, passwd, group, container.spec.group_add)
        if container.idmap:
            check_ids(container.spec, who, container.idmap)
        home = {} if "HOME" in container.spec.environment else {"HOME": who.home}
        most = power.capabilities(container.spec, our_capabilities())
        return {"user": bundle.ids(who), "capabilities": power.sets(container.spec, who, most)}, home

    def _process(self, name: str) -> dict[str, Any]:
        """The process of the bundle. Raises ContainerNotFound, NotRunning."""
        container = self._containers.inspect(name)
        if container.state is not State.RUNNING:
            raise NotRunning(name, container.state)
        found: dict[str, Any] = json.loads((self._paths.bundle(name) / "config.json").read_bytes())["process"]
        return found
