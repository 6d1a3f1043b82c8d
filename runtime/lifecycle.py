"""The life of a container: created, started, ended, removed; each step can be repeated, and undone in reverse."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from runtime import hostdevices, memoryfiles, userns
from runtime.admission import check_ids, check_limits, check_power, check_sources, our_capabilities, remapped
from runtime.confinement import Confinement
from runtime.engines import bundle, power, user
from runtime.engines.oci import MAPPED_ROOT
from runtime.errors import ContainerExists, InvalidSpec, StillAlive
from runtime.images.layers import MOUNTPOINTS
from runtime.images.rootfs import Owners, as_on_disk, mount_rootfs, read_inside, unmount_rootfs
from runtime.images.store import ImageStore
from runtime.model import ContainerSpec, IdMap, Image, ImageConfig, Mount
from runtime.networks import topology
from runtime.networks.ipam import Addresses
from runtime.networks.network import Network
from runtime.paths import HostPaths
from runtime.ports import Engine, Streams
from runtime.process import Process, boot_id, kill_tree
from runtime.restarts import History
from runtime.state import Record, Records, Start
from runtime.stopping import KILL_TIMEOUT_S
from runtime.validation import checked
from runtime.volumes import Volumes, of_its_own, with_the_images

RESOLV_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


JUST_NOW_S = 2.0  # what was prepared since then is as it would be made


class Lifecycle:
    """Makes and unmakes containers. One container is changed by one thread or process at a time."""

    def __init__(
        self,
        paths: HostPaths,
        records: Records,
        images: ImageStore,
        addresses: Addresses,
        network: Network,
        engine: Engine,
        volumes: Volumes,
    ) -> None:
        self._paths = paths
        self._records = records
        self._images = images
        self._addresses = addresses
        self._network = network
        self._engine = engine
        self._volumes = volumes
        self._made_s: dict[str, float] = {}  # of containers that were not run since: time.monotonic()

    def create(self, spec: ContainerSpec, image: Image) -> None:
        """Make all that the container needs before it can run. Raises ContainerExists, InvalidSpec, NoAddressLeft,
        PortTaken, KernelRefused; then nothing is left of it."""
        name = checked(spec).name
        with self._records.locked(name), self._images.using(), self._undone_on_error(name):
            if self._records.exists(name):
                raise ContainerExists(name)
            if self._has_traces(name):
                self._erase(name)  # what a crash left
            address = self._addresses.claim(name)
            spec = replace(spec, stop_signal=spec.stop_signal or image.config.stop_signal)
            layers = self._images.layer_names(image.digest)
            twin = self._network.bridge.twin(address)
            idmap = None if self._paths.rootless else remapped(spec)  # there, root is none of the host's anyway
            record = Record(spec, image.digest, layers, address, time.time(), idmap, twin)
            self._paths.container(name).mkdir()
            self._records.begin(record)
            self._prepare(record, image.config)
            self._records.commit(name)
            self._made_s[name] = time.monotonic()

    def start(self, name: str, made: Callable[[], None] = lambda: None) -> None:
        """Run it, also again; fine if it runs. `made` is called just before it runs.
        Raises ContainerNotFound, StartFailed, KernelRefused."""
        with self._records.locked(name):
            record = self._records.read(name)
            self._records.forget_ends(name)
            self._run(record, made)

    def start_again(self, name: str, history: History) -> bool:
        """Run it for the supervisor, unless somebody wants it stopped, or it runs; whether it was so. The history is
        written first: a start that fails counts. Raises as `start`."""
        with self._records.locked(name):
            record = self._records.read(name)
            ever = record.spec.restart.policy != "always"
            last = self._records.read_start(name)
            if self._records.was_stopped(name, ever=ever) or (last is not None and last.process.alive()):
                return False
            self._paths.bundle(name).mkdir(exist_ok=True)
            self._records.write_restarts(name, history)
            self._run(record, lambda: None)
            return True

    def hold(self, name: str) -> None:
        """It is not to be run again by itself: once this returns, no start is under way that does not know."""
        with self._records.locked(name):
            if self._records.read(name).spec.restart.policy != "no":
                self._records.mark_stopped(name)

    def _run(self, record: Record, made: Callable[[], None]) -> None:
        name = record.spec.name
        last = self._records.read_start(name)
        if last is not None and last.process.alive():
            return
        if last is not None:
            last.shim.wait(KILL_TIMEOUT_S)  # it has the last lines of the log to write
        self._forget_run(name)
        if time.monotonic() - self._made_s.pop(name, -math.inf) > JUST_NOW_S:
            self._prepare(record, self._images.image(record.image_digest).config)
        bundle_directory, log = self._paths.bundle(name), self._paths.log(name)
        launched = self._engine.launch(name, bundle_directory, log, _streams(record.spec), made)
        self._records.write_start(name, Start(launched.process, launched.shim, time.time(), boot_id()))

    def remove(self, name: str) -> None:
        """Kill it if it runs, and give back all it had; fine if it is not there. Raises StillAlive."""
        with self._records.locked(name):
            last = self._records.read_start(name)
            if last is not None:
                last.process.signal(9)
                if not (last.process.wait(KILL_TIMEOUT_S) and last.shim.wait(KILL_TIMEOUT_S)):
                    raise StillAlive(name)  # a shim that lives on would write into the next one of this name
            self._erase(name)

    def sweep(self) -> list[str]:
        """Take away what crashes left: parts without a container, and processes that nobody recorded."""
        swept = []
        for name in sorted(self._traces()):
            with self._records.locked_at_once(name) as free:
                if free and self._sweep(name):
                    swept.append(name)
        return swept

    def _sweep(self, name: str) -> bool:
        if not self._records.readable(name):
            self._erase(name)
            return True
        record = self._records.read(name)
        self._addresses.take(record.address, name)  # a power cut may have lost the claim, not the record
        if self._records.read_start(name) is None and (self._paths.bundle(name) / "conmon.pid").exists():
            self._forget_run(name)
            return True
        return False

    def _has_traces(self, name: str) -> bool:
        """Whether anything of this name is there, but for an address, which it gets again."""
        places = (self._paths.container(name), self._paths.bundle(name), self._paths.namespace(name))
        return any(path.exists() for path in (*places, self._paths.engine / name))

    def _traces(self) -> set[str]:
        """The names of all containers, whole or half made."""
        places = (self._paths.containers, self._paths.bundles, self._paths.netns, self._paths.engine)
        found = {entry.name for place in places for entry in os.scandir(place)}
        return found | set(self._addresses.all().values())

    @contextmanager
    def _undone_on_error(self, name: str) -> Iterator[None]:
        """Undo everything where the block fails, unless the container is somebody's already."""
        with ExitStack() as undo:
            undo.callback(self._erase_half_made, name)
            yield
            undo.pop_all()

    def _erase_half_made(self, name: str) -> None:
        if not self._records.exists(name):
            self._erase(name)

    def _prepare(self, record: Record, image: ImageConfig) -> None:
        """Everything around the processes. Fine for what is there: after a reboot, mounts and namespaces are not."""
        name = record.spec.name
        spec = replace(record.spec, mounts=with_the_images(record.spec.mounts, image))
        check_sources(spec)
        check_power(spec)
        check_limits(spec, cgroups=self._engine.surroundings().cgroups)
        container = self._paths.container(name)
        self._paths.bundle(name).mkdir(exist_ok=True)
        pin = self._ensure_userns(name, record.idmap) if record.idmap else None
        owners = Owners(pin, *record.idmap.outside(0, 0)) if pin and record.idmap else None
        mount_rootfs(self._paths.layers, (*record.layers, MOUNTPOINTS), container, owners)
        files = write_files(self._paths.bundle(name), spec, record.address, self._network, record.address6)
        self._network.connect(name, record.address, spec.ports, pin, record.address6)
        self._network.tune(name, {k: v for k, v in spec.sysctls.items() if k.startswith("net.")})
        self._write_bundle(replace(record, spec=spec), image, files)

    def _ensure_userns(self, name: str, idmap: IdMap) -> Path:
        """The user namespace of a container whose ids are remapped, and the way of its engine to its files."""
        pin, link = self._paths.userns(name), self._paths.bundle(name) / "rootfs"
        userns.ensure(pin, idmap)
        if not link.is_symlink():
            link.symlink_to(self._paths.rootfs(name))
        return pin

    def _write_bundle(self, record: Record, image: ImageConfig, files: dict[str, str]) -> None:
        spec, name, idmap = record.spec, record.spec.name, record.idmap
        rootfs = self._paths.rootfs(name)
        volumes = self._ready_volumes(record)
        if not bundle.argv(spec, image):
            raise InvalidSpec(name, (f"neither {spec.image} nor the container says what to run: give a command",))
        who = user.resolve(
            spec.user or image.user,
            read_inside(rootfs, "/etc/passwd"),
            read_inside(rootfs, "/etc/group"),
            spec.group_add,
        )
        if idmap:
            check_ids(spec, who, idmap)
        capabilities = power.capabilities(spec, our_capabilities())
        facts = self._engine.surroundings()
        around = bundle.Surroundings(
            rootfs=str(MAPPED_ROOT if idmap else rootfs),
            namespace=str(self._paths.namespace(name)),
            cgroup=self._paths.cgroup(name) if facts.cgroups else "",
            files=files,
            memory_files=memoryfiles.place(spec, self._paths.memory_files(name), idmap),
            volumes=volumes,
            init=facts.init if spec.init else "",
            user=who,
            open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            swap_limited=facts.swap_limited,
            capabilities=capabilities,
            devices=hostdevices.all_of_them() if spec.privileged else hostdevices.these(spec.devices),
            device_rules=hostdevices.rules(spec.devices),
            seccomp=self._confinement.of(spec, capabilities),
            userns=str(self._paths.userns(name)) if idmap else "",
            idmap=idmap,
        )
        config = json.dumps(bundle.config(spec, image, around))
        (self._paths.bundle(name) / "config.json").write_text(config)

    def _ready_volumes(self, record: Record) -> dict[str, str]:
        """The directories of the volumes by their targets, each with what the image has there."""
        name, wanted = record.spec.name, [m for m in record.spec.mounts if m.kind == "volume"]
        if not wanted:
            return {}
        with as_on_disk(self._paths.layers, record.layers, self._paths.container(name)) as files:
            return {m.target: str(self._volume(m, name, files)) for m in wanted}

    def _volume(self, mount: Mount, name: str, rootfs: Path) -> Path:
        if mount.source:
            return self._volumes.ready(mount.source, rootfs, mount.target)
        return of_its_own(self._paths.own_volumes(name), rootfs, mount.target)

    @cached_property
    def _confinement(self) -> Confinement:
        return Confinement(self._engine.surroundings().seccomp)

    def _forget_run(self, name: str) -> None:
        """Away with the last run's processes and traces, which are dead or were never recorded."""
        directory = self._paths.bundle(name)
        _kill_stray_shim(directory)  # first: it may be just about to make what is discarded
        self._engine.discard(name)
        for left in ("start.json", "exit", "oom", "pid", "conmon.pid"):
            (directory / left).unlink(missing_ok=True)

    def _erase(self, name: str) -> None:
        """Undo everything, the last made first; fine for what is not there."""
        self._made_s.pop(name, None)
        self._records.retract(name)
        record = self._records.read_half(name)
        self._forget_run(name)
        if record:
            self._network.disconnect(name, record.address, record.spec.ports, record.address6)
        else:
            self._network.disconnect(name)
        memoryfiles.remove(self._paths.memory_files(name))
        unmount_rootfs(self._paths.container(name))
        userns.drop(self._paths.userns(name))
        shutil.rmtree(self._paths.bundle(name), ignore_errors=True)
        shutil.rmtree(self._paths.container(name), ignore_errors=True)
        self._addresses.release(name)


def _streams(spec: ContainerSpec) -> Streams:
    """A log of several files is begun anew by the supervisor, so that no line is lost."""
    return Streams(spec.tty, spec.stdin_open, spec.log.max_size_bytes if spec.log.max_files == 1 else 0)


def write_files(
    bundle_directory: Path, spec: ContainerSpec, address: str, network: Network, address6: str = ""
) -> dict[str, str]:
    """The files that make the container's network usable: target → source."""
    directory = bundle_directory / "etc"
    directory.mkdir(exist_ok=True)
    hostname = bundle.hostname(spec)
    candidates = [path.read_text() for path in RESOLV_FILES if path.exists()]
    resolv = topology.resolv_file(candidates, network.name_server, topology.ZONE)
    own = topology.Resolving(spec.dns, spec.dns_search, spec.dns_options)
    gateway, six = network.bridge.address, network.bridge.own(address6)
    texts = {
        "hosts": topology.hosts_file(hostname, address, spec.extra_hosts, gateway, six),
        "hostname": f"{hostname}\n",
        "resolv.conf": own.applied(resolv, topology.ZONE if network.name_server else ""),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644)
    return {f"/etc/{name}": str(directory / name) for name in texts}


def _kill_stray_shim(bundle_directory: Path) -> None:
    """A shim whose container was never recorded as started, with all below it: only its pid file knows it."""
    try:
        shim = Process.of(int((bundle_directory / "conmon.pid").read_text()))
    except (FileNotFoundError, ValueError):
        return
    if shim is not None and _is_shim_of(shim.pid, bundle_directory):
        kill_tree(shim.pid)
        shim.wait(KILL_TIMEOUT_S)


def _is_shim_of(pid: int, bundle_directory: Path) -> bool:
    """Guards against a number that another process has by now."""
    try:
        return f"--bundle={bundle_directory}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
