"""The containers of one host root: made, run, ended, removed."""

from __future__ import annotations

import contextlib
import signal as signals
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runtime import supervision
from runtime.engines.usage import network
from runtime.errors import ContainerNotFound, NotHere, mapped
from runtime.images.catalog import Catalog
from runtime.lifecycle import Lifecycle
from runtime.model import Container, ContainerSpec, Usage
from runtime.paths import HostPaths
from runtime.ports import Engine
from runtime.restarts import History
from runtime.seen import container_of
from runtime.signals import number_of
from runtime.state import Records
from runtime.stopping import Stopping

INIT_TIMEOUT_S = 5.0  # in which the init of a container begins to listen, on a disk that stalls too


class OciContainers(Stopping):
    """Made from bundles that an OCI runtime runs. See ports.Containers."""

    def __init__(self, paths: HostPaths, records: Records, images: Catalog, life: Lifecycle, engine: Engine) -> None:
        self._paths = paths
        self._records = records
        self._images = images
        self._life = life
        self._engine = engine

    @mapped()
    def create(self, spec: ContainerSpec) -> Container:
        """Make a container of an image that is present. Raises ImageNotFound, ContainerExists, InvalidSpec,
        NoAddressLeft, PortTaken, KernelRefused; then nothing is left of it."""
        image = self._images.here(spec.image)
        self._life.create(spec, image)
        self._images.used(image.digest)
        return self.inspect(spec.name)

    @mapped()
    def start(self, name: str, made: Callable[[], None] = lambda: None) -> Container:
        """Run it, for the first time or again, with the same address, files and log; fine if it runs. `made` is called
        when one can attach, and nothing runs yet. Raises ContainerNotFound, StartFailed."""
        self._life.start(name, made)
        if supervision.needs_care(self._records.read(name).spec):
            supervision.ensure(self._paths)
        return self.inspect(name)

    @mapped()
    def start_again(self, name: str, history: History) -> bool:
        """For the supervisor: run it, unless somebody stopped it or it runs; whether it was so. Raises as `start`."""
        return self._life.start_again(name, history)

    def restarts(self, name: str) -> History:
        """How often it was run again by itself since it was started."""
        return self._records.restarts(name)

    def was_stopped(self, name: str, *, ever: bool) -> bool:
        """Whether somebody wanted it to end; with `ever` also before a reboot."""
        return self._records.was_stopped(name, ever=ever)

    @mapped()
    def inspect(self, name: str) -> Container:
        """Raises ContainerNotFound."""
        return container_of(name, self._paths, self._records, self._engine)

    def list(self) -> list[Container]:
        """All containers, by name."""
        found = []
        for name in self._records.names():
            with contextlib.suppress(ContainerNotFound):  # removed meanwhile
                found.append(self.inspect(name))
        return found

    def usage(self, name: str) -> Usage | None:
        """What it uses; None if it does not run. Raises ContainerNotFound, NotHere."""
        if self._paths.rootless:
            raise NotHere("without root, no control group counts what containers use", hint="`hecd-runtime top NAME`")
        pid = self.inspect(name).pid
        if pid is None:
            return None
        try:
            received, sent = network(Path(f"/proc/{pid}/net/dev").read_text())
        except OSError:  # it ends at this moment
            return None
        return replace(self._engine.usage(self._paths.cgroup(name)), received_bytes=received, sent_bytes=sent)

    def signal(self, name: str, signal: str) -> None:
        record = self._records.read(name)
        start = self._records.read_start(name)
        number = number_of(name, signal)
        if start is None:
            return
        if number in (signals.SIGKILL, number_of(name, record.spec.stop_signal or "SIGTERM")):
            self._hold(record.spec)
        if record.spec.init and number != signals.SIGKILL:
            start.process.begun(INIT_TIMEOUT_S)
        start.process.signal(number)

    def exit_fd(self, name: str) -> int | None:
        self._records.read(name)
        start = self._records.read_start(name)
        if start is None:
            return None
        shim = start.shim.open()
        return shim if shim is not None else start.process.open()

    def stop(self, name: str, grace_s: float = 10.0) -> Container:
        """As everywhere; it is not run again by itself. Raises ContainerNotFound, StillAlive."""
        self._hold(self._records.read(name).spec)
        return super().stop(name, grace_s)

    @mapped()
    def remove(self, name: str) -> None:
        """Kill it if it runs, and give back address, namespaces, mounts and files; fine if there is none.
        Raises StillAlive."""
        with contextlib.suppress(ContainerNotFound):
            record = self._records.read(name)
            self._images.used(record.image_digest)  # its use ends now
            self._hold(record.spec)
        self._life.remove(name)
        supervision.ring(self._paths)

    def _hold(self, spec: ContainerSpec) -> None:
        if spec.restart.policy != "no":
            with contextlib.suppress(ContainerNotFound):
                self._life.hold(spec.name)
            supervision.ring(self._paths)
