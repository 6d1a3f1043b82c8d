"""The containers of a root whose engine is Docker or Podman. See ports.Containers."""

from __future__ import annotations

import json
import resource
import shutil
import signal as signals
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime import confinement, memoryfiles
from runtime.admission import check_power, check_sources, our_capabilities
from runtime.confinement import UNCONFINED, Confinement
from runtime.docker import body, seen
from runtime.docker.connection import Connection
from runtime.docker.images import DockerImages
from runtime.docker.ours import Ours
from runtime.docker.watch import Watch
from runtime.engines import power, usage
from runtime.engines.bundle import OPEN_FILES
from runtime.engines.cgroups import Cgroups
from runtime.engines.oci import default_profile
from runtime.errors import ContainerExists, InvalidSpec, KernelRefused, mapped
from runtime.lifecycle import write_files
from runtime.model import Container, ContainerSpec, Image, Usage
from runtime.networks.ipam import Addresses
from runtime.networks.network import Network
from runtime.paths import HostPaths
from runtime.process import Process
from runtime.signals import number_of
from runtime.state import Record, Records, held
from runtime.stopping import Stopping
from runtime.validation import checked

INIT_TIMEOUT_S = 5.0  # in which the init of a container begins to listen, on a disk that stalls too
ENDING_S = 0.2  # in which a process that ends has lost its namespace
GONE_S = 10.0  # in which one that has lost it is gone, however busy the host
PID_MAX = Path("/proc/sys/kernel/pid_max")


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
        self._ours = Ours(connection, paths.id)
        self._records = Records(paths)  # of what is half made: everything else is the engine's to know
        self._booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._watch = Watch(connection, self._ours.run_of)

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
        check_power(spec)
        spec = replace(spec, stop_signal=spec.stop_signal or image.config.stop_signal)
        with held(self._paths.container_locks / name), self._undone_on_error(name):
            self._ours.free(name)
            self._erase(name)  # what a crash left
            address = self._addresses.claim(name)
            address6 = self._network.bridge.twin(address)
            self._note(Record(spec, image.digest, (), address, time.time(), address6=address6))
            self._network.publish(spec.ports, address, address6)
            self._ours.create(name, body.container(spec, self._around(spec, image, address)))
        return self.inspect(name)

    @mapped()
    def start(self, name: str, made: Callable[[], None] = lambda: None) -> Container:
        """Run it, for the first time or again, with the same address, files and log; fine if it runs, whoever started
        it. `made` is called when one can attach, and nothing runs yet.
        Raises ContainerNotFound, InvalidSpec, StartFailed, KernelRefused, EngineAway."""
        with held(self._paths.container_locks / name):
            container = self.inspect(name)
            if container.pid is None:
                # A reboot took the rules away.
                self._network.publish(container.spec.ports, container.address, container.address6)
                memoryfiles.place(container.spec, self._memory_files(name))  # what they are now
                made()
                self._ours.start(name)
                container = self.inspect(name)
            self._connect(container)
        return container

    def inspect(self, name: str) -> Container:
        """Raises ContainerNotFound, EngineAway."""
        return self._read(self._ours.must(name))

    def list(self) -> list[Container]:
        """All containers of this root, by name. Raises EngineAway."""
        return sorted(map(self._read, self._ours.all()), key=lambda c: c.name)

    def usage(self, name: str) -> Usage | None:
        """What it uses; None if it does not run. Raises ContainerNotFound, EngineAway."""
        pid = self.inspect(name).pid
        if pid is None:
            return None
        try:
            group = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[0].split(":", 2)[2]
            received, sent = usage.network(Path(f"/proc/{pid}/net/dev").read_text())
        except (OSError, IndexError):  # it ends at this moment
            return None
        return replace(Cgroups.probe().usage(group), received_bytes=received, sent_bytes=sent)

    def signal(self, name: str, signal: str) -> None:
        container, number = self.inspect(name), number_of(name, signal)
        if container.pid is None:
            return
        process = Process.of(container.pid)
        if process is not None and container.spec.init and number != signals.SIGKILL:
            process.begun(INIT_TIMEOUT_S)
        self._ours.kill(name, number)

    def exit_fd(self, name: str) -> int | None:
        found = self._ours.must(name)
        return self._watch.fd(found["Id"], run) if (run := seen.run_of(found)) else None

    @mapped()
    def remove(self, name: str) -> None:
        """Kill it if it runs, and give back address, cable and files; fine if there is none, or if it is not ours.
        Raises StillAlive, EngineAway, EngineRefused."""
        with held(self._paths.container_locks / name):
            found = self._ours.find(name)
            if found is not None and not self._ours.has(found):
                return
            if found is not None:
                c = self._read(found)
                record = Record(c.spec, c.image_digest, (), c.address, c.created_at, address6=c.address6)
                self._note(record)  # for `_erase`
                self._ours.delete(name)
            self._erase(name)

    def sweep(self) -> None:
        """Take away what crashes left: addresses, cables and files without a container. Raises EngineAway."""
        there = self.list()
        for container in there:
            self._addresses.take(container.address, container.name)  # a power cut may have lost the claim
        places = (self._paths.containers, self._paths.bundles, self._paths.netns)
        traces = {entry.name for place in places for entry in place.iterdir()} | set(self._addresses.all().values())
        for name in sorted(traces - {container.name for container in there}):
            with self._records.locked_at_once(name) as free:
                if free and ((found := self._ours.find(name)) is None or not self._ours.has(found)):
                    self._erase(name)

    def close(self) -> None:
        """Let go of the engine."""
        self._watch.close()

    def _read(self, found: Mapping[str, Any]) -> Container:
        return seen.container_of(found, self._booted_at)

    def _around(self, spec: ContainerSpec, image: Image, address: str) -> body.Around:
        address6 = self._network.bridge.twin(address)
        files = write_files(self._paths.container(spec.name), spec, address, self._network, address6)
        capabilities = power.capabilities(spec, our_capabilities())
        return body.Around(
            root=self._paths.id,
            image=self._images.engine_name(image.digest),
            digest=image.digest,
            user=image.config.user,
            address=address,
            files=files,
            memory_files=memoryfiles.place(spec, self._memory_files(spec.name)),
            ulimits=self._ulimits(),
            capabilities=capabilities,
            seccomp=self._seccomp(spec, capabilities),
            address6=address6,
        )

    def _seccomp(self, spec: ContainerSpec, capabilities: tuple[str, ...]) -> str:
        """Docker wants the profile itself, Podman a path."""
        if not spec.seccomp:
            return ""
        Confinement(default_profile()).of(spec, capabilities)  # whether it may be
        whole = spec.seccomp == UNCONFINED or self._connection.is_podman
        return spec.seccomp if whole else json.dumps(confinement.read(spec.seccomp))

    def _memory_files(self, name: str) -> Path:
        self._paths.bundle(name).mkdir(exist_ok=True)
        return self._paths.memory_files(name)

    def _ulimits(self) -> dict[str, int]:
        """Podman by itself would ask for more processes than a host without CAP_SYS_RESOURCE may give, and has limited
        itself to as many as there are numbers."""
        found = {"nofile": min(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])}
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        if processes != resource.RLIM_INFINITY and self._connection.is_podman:
            found["nproc"] = min(processes, int(PID_MAX.read_text()))
        return found

    def _connect(self, container: Container) -> None:
        """Plug the cable in; one that has ended already needs none."""
        if container.pid is None:
            return
        try:
            publishes = bool(container.spec.ports)
            six = container.address6
            self._network.attach(container.name, container.address, container.pid, publishes=publishes, address6=six)
        except (KernelRefused, FileNotFoundError):
            process = Process.of(container.pid)
            if process is not None and not _ends(process):
                process.signal(signals.SIGKILL)  # nothing may run unreachable
                raise

    @contextmanager
    def _undone_on_error(self, name: str) -> Iterator[None]:
        """Undo everything where the block fails, unless the engine has made it all the same, or does not say."""
        try:
            yield
        except ContainerExists:
            raise
        except BaseException:
            if self._ours.find(name) is None:
                self._erase(name)
            raise

    def _note(self, record: Record) -> None:
        """What `_erase` has to undo, before the engine has made it or after it has forgotten it."""
        self._paths.container(record.spec.name).mkdir(exist_ok=True)
        self._records.begin(record)

    def _erase(self, name: str) -> None:
        record = self._records.read_half(name)
        if record:
            self._network.disconnect(name, record.address, record.spec.ports, record.address6)
        else:
            self._network.disconnect(name)
        memoryfiles.remove(self._paths.memory_files(name))
        shutil.rmtree(self._paths.bundle(name), ignore_errors=True)
        shutil.rmtree(self._paths.container(name), ignore_errors=True)
        self._addresses.release(name)


def _ends(process: Process) -> bool:
    """Whether it has ended, or is about to: then it is waited for."""
    if process.wait(ENDING_S):
        return True
    try:
        Path(f"/proc/{process.pid}/ns/net").readlink()
    except OSError:
        return process.wait(GONE_S)
    return False
