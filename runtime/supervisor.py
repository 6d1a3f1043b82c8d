"""The process that runs containers again and lets their logs begin anew. It waits for file descriptors; it never polls.

Read what is on disk, decide, act, and wait: for the end of a container (pidfd), for a log that grows and for the
doorbell (inotify), or for the time at which a delay is over.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime import restarts, rotation, supervision
from runtime.errors import ContainerNotFound, RuntimeFault
from runtime.host import Host
from runtime.linux import watch_changes
from runtime.model import Container, State
from runtime.state import held

LOOK_PACE_S = 0.1  # when many start at once, all are looked at this often at most
LOG_PACE_S = 0.05  # a log that grows all the time is looked at this often at most


@dataclass
class Watched:
    """What is waited for, for one container."""

    end: int | None = None
    log: int | None = None
    restart_at: float | None = None  # monotonic
    look_at: float | None = None  # the same: when its log is looked at next


class Supervisor:
    """Of one host root. `idle` says what to do when nobody needs it: end, or stay."""

    def __init__(self, host: Host, *, stay: bool) -> None:
        self._host = host
        self._paths = host.paths
        self._stay = stay
        self._watched: dict[str, Watched] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(watch_changes(self._paths.doorbell), selectors.EVENT_READ, self._rung)
        self._stale, self._look_at = True, 0.0

    def run(self) -> None:
        """Until nobody needs it."""
        while True:
            if self._stale and time.monotonic() >= self._look_at:
                self._look()
            if not self._watched and not self._stale and not self._stay and self._may_end():
                return
            for key, _ in self._selector.select(self._patience_s()):
                if self._selector.get_map().get(key.fd) is key:  # else it was closed a moment ago
                    key.data(key.fd)
            self._act()

    def _may_end(self) -> bool:
        """Whoever starts a container rings under this lock."""
        with held(self._paths.locks / "supervision"):
            self._look()
            if not self._watched:
                supervision.supervisor_lock(self._paths).unlink(missing_ok=True)
                return True
        return False

    def _look(self) -> None:
        """See which containers there are, and watch over those that need it."""
        self._stale, self._look_at = False, time.monotonic() + LOOK_PACE_S
        found = {c.name: c for c in self._host.containers.list() if supervision.needs_care(c.spec)}
        for name in set(self._watched) - {name for name, c in found.items() if self._concerns(c)}:
            self._forget(name)
        for container in found.values():
            if self._concerns(container):
                self._watch(container)

    def _concerns(self, container: Container) -> bool:
        return container.state is State.RUNNING or self._next(container) is not None

    def _watch(self, container: Container) -> None:
        name = container.name
        watched = self._watched.setdefault(name, Watched())
        if container.state is not State.RUNNING:
            self._close(watched)
            due = self._next(container)
            if due is not None and watched.restart_at is None:
                watched.restart_at = time.monotonic() + due.delay_s
            return
        watched.restart_at = None
        if watched.end is None:
            self._await_end(name, watched)
        if watched.log is None and container.spec.log.max_files > 1:
            watched.log = watch_changes(self._paths.container(name))
            watched.look_at = time.monotonic()
            self._selector.register(watched.log, selectors.EVENT_READ, partial(self._grown, name))

    def _await_end(self, name: str, watched: Watched) -> None:
        fd = None
        with contextlib.suppress(ContainerNotFound):
            fd = self._host.containers.exit_fd(name)
        if fd is None:
            self._stale = True  # it ended, or was removed, since it was looked at: nothing else would tell of it
            return
        watched.end = fd
        self._selector.register(fd, selectors.EVENT_READ, partial(self._ended, name))

    def _next(self, container: Container) -> restarts.History | None:
        if container.state is State.CREATED:
            return None
        ran_s = (container.finished_at or time.time()) - (container.started_at or time.time())
        stopped = self._host.supervised.was_stopped(container.name, ever=container.spec.restart.policy != "always")
        ending = restarts.Ending(container.exit_code, ran_s, stopped)
        return restarts.again(container.spec.restart, ending, self._host.supervised.restarts(container.name))

    def _act(self) -> None:
        now = time.monotonic()
        for name, watched in list(self._watched.items()):
            if watched.restart_at is not None and watched.restart_at <= now:
                self._restart(name, watched)
            if watched.look_at is not None and watched.look_at <= now:
                self._rotate(name, watched)

    def _restart(self, name: str, watched: Watched) -> None:
        watched.restart_at = None
        try:
            container = self._host.containers.inspect(name)
            history = self._next(container)
            if container.state is not State.RUNNING and history is not None:
                self._host.supervised.start_again(name, history)
                _say(f"started again container={name} count={history.count} delay_s={history.delay_s:g}")
        except RuntimeFault as err:  # the next delay is longer, as after an end
            if not isinstance(err, ContainerNotFound):
                _say(f"cannot start again container={name} why={err.brief!r}")
        self._look_at_one(name)

    def _rotate(self, name: str, watched: Watched) -> None:
        watched.look_at = None
        with contextlib.suppress(ContainerNotFound, OSError):
            limits = self._host.containers.inspect(name).spec.log
            rotation.rotate(self._paths.log(name), self._paths.bundle(name) / "ctl", limits)
        if watched.log is not None:
            with contextlib.suppress(KeyError):
                self._selector.register(watched.log, selectors.EVENT_READ, partial(self._grown, name))

    def _rung(self, fd: int) -> None:
        _drain(fd)
        self._stale = True

    def _ended(self, name: str, fd: int) -> None:
        if (watched := self._watched.get(name)) is not None:
            self._close(watched)
        self._look_at_one(name)

    def _look_at_one(self, name: str) -> None:
        try:
            container = self._host.containers.inspect(name)
        except ContainerNotFound:
            self._forget(name)
            return
        if self._concerns(container):
            self._watch(container)
        else:
            self._forget(name)

    def _grown(self, name: str, fd: int) -> None:
        """Not to be woken by every line: until it is looked at, its descriptor is left alone."""
        _drain(fd)
        self._selector.unregister(fd)
        if (watched := self._watched.get(name)) is not None:
            watched.look_at = time.monotonic() + LOG_PACE_S

    def _patience_s(self) -> float | None:
        times = [t for w in self._watched.values() for t in (w.restart_at, w.look_at) if t is not None]
        times += [self._look_at] if self._stale else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _forget(self, name: str) -> None:
        if (watched := self._watched.pop(name, None)) is not None:
            self._close(watched)

    def _close(self, watched: Watched) -> None:
        for fd in (watched.end, watched.log):
            if fd is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(fd)
                os.close(fd)
        watched.end = watched.log = watched.look_at = None


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(fd, 1 << 16):
            pass


def _say(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%S%z"), text, file=sys.stderr, flush=True)


def main() -> None:
    """As `supervision.ensure` starts it: with directories, and the descriptor of the lock that it holds."""
    lib, run, _ = sys.argv[1:]
    host = Host.open(Path(lib), Path(run))
    Supervisor(host, stay=False).run()


if __name__ == "__main__":
    main()
