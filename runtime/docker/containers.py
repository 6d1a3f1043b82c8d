"""The containers of a root whose engine is Docker or Podman. See ports.Containers."""

from __future__ import annotations

import resource
import shutil
import signal as signals
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.docker import body, seen
from runtime.docker.connection import Connection
from runtime.docker.images import DockerImages
from runtime.docker.watch import Watch
from runtime.engines.bundle import OPEN_FILES
from runtime.errors import (
    ContainerExists,
    ContainerNotFound,
    EngineRefused,
    InvalidSpec,
    KernelRefused,
    StartFailed,
    StillAlive,
    mapped,
)
from runtime.lifecycle import check_sources, write_files
from runtime.model import Container, ContainerSpec, Image
from runtime.networks.ipam import Addresses
from runtime.networks.network import Network
from runtime.paths import HostPaths
from runtime.process import Process
from runtime.signals import number_of
from runtime.state import Record, Records, held
from runtime.stopping import KILL_TIMEOUT_S, Stopping
from runtime.validation import checked

INIT_TIMEOUT_S = 1.0  # in which the init of a container begins to listen
ENDING_S = 0.2  # in which a process that has lost its namespace is gone
PID_MAX = Path("/proc/sys/kernel/pid_max")
FOREIGN = "Another program made it in this engine: see `docker ps -a`, and take another name."


class DockerContainers(Stopping):
    """What a container is stands in its labels. Address, cable and ports are the root's own, as everywhere."""

    def __init__(
        self, paths: HostPaths, connection: Connection, images: DockerImages, addresses: Addresses, network: Network
    ) -> None:
        self._paths = paths
        self._connection = connection
        self._images = images
        self._addresses = addresses
        self._network = network
        self._records = Records(paths)  # of what is half made: everything else is the engine's to know
        self._booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._watch = Watch(connection, self._run_of)

    @mapped()
    def create(self, spec: ContainerSpec) -> Container:
        """Make a container of an image that is present. Raises ImageNotFound, ContainerExists, InvalidSpec,
        NoAddressLeft, PortTaken, KernelRefused, EngineAway, EngineRefused; then nothing is left of it."""
        name = checked(spec).name
        if faults := body.faults(spec):
            raise InvalidSpec(name, faults)
        image = self._images.here(spec.image)
        if not (spec.entrypoint or spec.command or image.config.entrypoint or image.config.command):
            raise InvalidSpec(name, (f"neither {spec.image} nor the container says what to run: give a command",))
        check_sources(spec)
        spec = replace(spec, stop_signal=spec.stop_signal or image.config.stop_signal)
        with held(self._paths.container_locks / name), self._undone_on_error(name):
            if (found := self._raw(name)) is not None:
                raise ContainerExists(name, "" if seen.is_ours(found, self._paths.id) else FOREIGN)
            self._erase(name)  # what a crash left
            address = self._addresses.claim(name)
            self._paths.container(name).mkdir()
            self._records.begin(Record(spec, image.digest, (), address, time.time()))
            self._network.publish(spec.ports, address)
            self._ask_for(spec, image, address)
        return self.inspect(name)

    @mapped()
    def start(self, name: str) -> Container:
        """Run it, for the first time or again, with the same address, files and log; fine if it runs, whoever started
        it. Raises ContainerNotFound, StartFailed, KernelRefused, EngineAway."""
        with held(self._paths.container_locks / name):
            found = self._must(name)
            container = self._read(found)
            if not seen.run_of(found):
                self._network.publish(container.spec.ports, container.address)  # a reboot took the rules away
                self._run(found["Id"], name)
                container = self._read(self._must(name))
            self._connect(container)
        return container

    def inspect(self, name: str) -> Container:
        """Raises ContainerNotFound, EngineAway."""
        return self._read(self._must(name))

    def list(self) -> list[Container]:
        """All containers of this root, by name. Raises EngineAway."""
        with self._connection.asking() as api:
            ids = [c["Id"] for c in api.containers(all=True, filters={"label": f"{body.ROOT_LABEL}={self._paths.id}"})]
        found = [raw for container in ids if (raw := self._raw(container)) is not None]
        return sorted((self._read(raw) for raw in found), key=lambda c: c.name)

    def signal(self, name: str, signal: str) -> None:
        container, number = self.inspect(name), number_of(name, signal)
        if container.pid is None:
            return
        process = Process.of(container.pid)
        if process is not None and container.spec.init and number != signals.SIGKILL:
            process.begun(INIT_TIMEOUT_S)
        try:
            with self._connection.asking() as api:
                api.kill(self._must(name)["Id"], number)
        except EngineRefused:
            if self.inspect(name).pid is not None:
                raise

    def exit_fd(self, name: str) -> int | None:
        found = self._must(name)
        return self._watch.fd(found["Id"], run) if (run := seen.run_of(found)) else None

    @mapped()
    def remove(self, name: str) -> None:
        """Kill it if it runs, and give back address, cable and files; fine if there is none, or if it is not ours.
        Raises StillAlive, EngineAway, EngineRefused."""
        with held(self._paths.container_locks / name):
            found = self._raw(name)
            if found is not None and not seen.is_ours(found, self._paths.id):
                return
            if found is not None:
                self._remember(self._read(found))
                self._delete(found["Id"], name)
            self._erase(name)

    def sweep(self) -> None:
        """Take away what crashes left: addresses, cables and files without a container. Raises EngineAway."""
        there = {container.name for container in self.list()}
        places = (self._paths.containers, self._paths.netns)
        traces = {entry.name for place in places for entry in place.iterdir()} | set(self._addresses.all().values())
        for name in sorted(traces - there):
            with self._records.locked_at_once(name) as free:
                if free and ((found := self._raw(name)) is None or not seen.is_ours(found, self._paths.id)):
                    self._erase(name)

    def close(self) -> None:
        """Let go of the engine."""
        self._watch.close()

    # what the engine is asked

    def _raw(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of a container, by its whole name or id."""
        try:
            with self._connection.asking() as api:
                found: dict[str, Any] = api.inspect_container(name)
        except EngineRefused as err:
            if err.status == 404:
                return None
            raise
        return found if name in (found["Name"].lstrip("/"), found["Id"]) else None

    def _must(self, name: str) -> dict[str, Any]:
        found = self._raw(name)
        if found is None or not seen.is_ours(found, self._paths.id):
            raise ContainerNotFound(name)
        return found

    def _read(self, found: Mapping[str, Any]) -> Container:
        return seen.container_of(found, self._booted_at)

    def _run_of(self, container: str) -> str:
        return seen.run_of(found) if (found := self._raw(container)) is not None else ""

    def _ask_for(self, spec: ContainerSpec, image: Image, address: str) -> None:
        files = write_files(self._paths.container(spec.name), spec, address, self._network)
        name, user = self._images.engine_name(image.digest), image.config.user
        around = body.Around(self._paths.id, name, image.digest, user, address, files, self._ulimits())
        try:
            with self._connection.asking() as api:
                api.create_container_from_config(body.container(spec, around), spec.name)
        except EngineRefused as err:
            if err.status == 409:
                raise ContainerExists(spec.name, FOREIGN) from err
            if err.status == 400:
                raise InvalidSpec(spec.name, (err.words,)) from err
            raise

    def _ulimits(self) -> dict[str, int]:
        """Podman by itself would ask for more processes than a host without CAP_SYS_RESOURCE may give, and has limited
        itself to as many as there are numbers."""
        found = {"nofile": min(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])}
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        if processes != resource.RLIM_INFINITY and self._connection.is_podman:
            found["nproc"] = min(processes, int(PID_MAX.read_text()))
        return found

    def _run(self, container: str, name: str) -> None:
        try:
            with self._connection.asking() as api:
                api.start(container)
        except EngineRefused as err:
            raise StartFailed(
                f"{name} could not be started", details=(err.words,), hint="Does the command exist in the image?"
            ) from err

    def _connect(self, container: Container) -> None:
        """Plug the cable in; one that has ended already needs none."""
        if container.pid is None:
            return
        try:
            publishes = bool(container.spec.ports)
            self._network.attach(container.name, container.address, container.pid, publishes=publishes)
        except (KernelRefused, FileNotFoundError):
            process = Process.of(container.pid)
            if process is not None and not process.wait(ENDING_S):
                process.signal(signals.SIGKILL)  # nothing may run unreachable
                raise

    def _delete(self, container: str, name: str) -> None:
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while True:
            try:
                with self._connection.asking() as api:
                    api.remove_container(container, force=True, v=True)
            except EngineRefused as err:
                if err.status == 404:
                    return
                if time.monotonic() > deadline:
                    raise StillAlive(name) from err
                time.sleep(0.1)  # somebody else removes it, or a process in it waits for the kernel
            else:
                return

    # what is ours

    @contextmanager
    def _undone_on_error(self, name: str) -> Iterator[None]:
        try:
            yield
        except ContainerExists:
            raise
        except BaseException:
            with suppress(EngineRefused):
                found = self._raw(name)
                if found is None:
                    self._erase(name)
            raise

    def _remember(self, container: Container) -> None:
        """What `_erase` has to undo once the engine has forgotten it."""
        record = Record(container.spec, container.image_digest, (), container.address, container.created_at)
        self._paths.container(container.name).mkdir(exist_ok=True)
        self._records.begin(record)

    def _erase(self, name: str) -> None:
        record = self._records.read_half(name)
        self._network.disconnect(name, record.address if record else "", record.spec.ports if record else ())
        shutil.rmtree(Path(self._paths.container(name)), ignore_errors=True)
        self._addresses.release(name)
