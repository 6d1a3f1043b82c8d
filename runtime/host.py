"""One host: what it runs, what it has, and what it can do. Everything else in this package stands behind this."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal as signals
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime import execute, logs
from runtime.engines.oci import OciEngine
from runtime.errors import (
    ContainerNotFound,
    ImageNotFound,
    InvalidImage,
    InvalidSpec,
    NotPermitted,
    NotRunning,
    StillAlive,
    mapped,
)
from runtime.images import archive, buildah, imported, reference, save, settings
from runtime.images.layers import Layers
from runtime.images.registry import Progress, Registry
from runtime.images.store import ImageStore
from runtime.lifecycle import KILL_TIMEOUT_S, Lifecycle
from runtime.model import Container, ContainerSpec, Image, ImageConfig, ImageDetails, LogLine, State, Swept
from runtime.networks import topology
from runtime.networks.ipam import Addresses
from runtime.networks.network import Network
from runtime.networks.overlay import Overlay, Peer, tunnel_address
from runtime.paths import HostPaths
from runtime.ports import Engine
from runtime.process import readable
from runtime.seen import container_of
from runtime.state import Records, held, write_whole

__all__ = ["Host", "HostPaths"]

LIB = Path("/var/lib/hecd/runtime")
RUN = Path("/run/hecd/runtime")
SUBNET = "10.87.0.0/24"
BRIDGE = "hecd0"
INIT_TIMEOUT_S = 1.0  # in which the init of a container begins to listen
_SIGNAL = re.compile(r"(?P<number>[0-9]{1,2})|(?:SIG)?(?P<name>[A-Z][A-Z0-9]*)(?P<offset>[+-][0-9]{1,2})?")
SPARE_SUBNETS = "10.87.{}.0/24"  # one of 1-255 for a root elsewhere


class Host:
    """Containers, images and networks below one pair of directories.

    Calls are short and blocking. Any number of threads and processes may use one root at once; the state is on disk and
    in the kernel, so that whoever opens the root next finds everything, whatever happened to the one before.
    """

    def __init__(self, paths: HostPaths, bridge: topology.Bridge, engine: Engine, image_settings: Path) -> None:
        self._paths = paths
        self._image_settings = image_settings
        self._records = Records(paths)
        layers = Layers(paths.layers, paths.locks, lambda: settings.read(image_settings).largest_layer_bytes)
        self._images = ImageStore(paths.images, layers, paths.locks)
        self._registry = Registry(self._images, paths.images, paths.locks, image_settings)
        self._addresses = Addresses(paths.addresses, bridge.subnet, paths.locks)
        self._network = Network(paths, bridge)
        self._engine = engine
        self._life = Lifecycle(paths, self._records, self._images, self._addresses, self._network, engine)

    @classmethod
    @mapped()
    def open(
        cls,
        lib: Path = LIB,
        run: Path = RUN,
        subnet: str | None = None,
        bridge: str | None = None,
        image_settings: Path = settings.FILE,
    ) -> Host:
        """Open a root, make it if it is new, and take away what crashes left.

        Without `subnet` and `bridge` they are those the root had last.
        Raises NotPermitted, MissingProgram, InvalidSpec.
        """
        if os.geteuid() != 0:
            raise NotPermitted("containers are made by root only", hint="Run it with sudo.")
        paths = HostPaths(lib.absolute(), run.absolute())
        paths.make()
        engine = OciEngine.open(paths)
        engine.surroundings()  # says what is missing now, not when the first container starts
        host = cls(paths, _planned(paths, subnet, bridge), engine, image_settings)
        host._life.sweep()
        return host

    @mapped()
    def close(self) -> None:
        """Let go. Containers run on; without any, and outside of an overlay, bridge and rules go away too."""
        with held(self._paths.locks / "network"):
            if not self._addresses.all() and self._network.joined is None:
                self._network.teardown()

    # names

    @mapped()
    def serve_names(self, names: Mapping[str, Sequence[str]]) -> None:
        """Have containers that start from now on find these addresses by name, bare or with `.hecd` behind it, whoever
        else comes and goes. To be called with all names, as often as wanted. Raises PortTaken."""
        self._network.names.serve(names)

    def names(self) -> Mapping[str, Sequence[str]]:
        """What `serve_names` was told last, by whichever process."""
        return self._network.names.names()

    @mapped()
    def forget_names(self) -> None:
        """Answer names no more; fine if it is so."""
        self._network.names.end()

    # the overlay

    @mapped()
    def join(self, overlay: Overlay, peers: Iterable[Peer]) -> list[str]:
        """Reach the containers of these other hosts, and be reached; they have to be told of `vtep_mac` alike.

        To be called with all peers, as often as wanted: what is right is not touched, what is missing comes back, what
        is too much goes. What was changed, and which peers cannot be, in words.
        Raises InvalidSpec; KernelRefused, where the kernel has no VXLAN or the address is not this host's.
        """
        return self._network.join(overlay, peers)

    @mapped()
    def leave(self) -> None:
        """Take part in no overlay any more; fine if it is so."""
        self._network.leave()

    def peers(self) -> Sequence[Peer]:
        """The other hosts that `join` was told of last, by whichever process."""
        joined = self._network.joined
        return joined.peers if joined else ()

    @property
    def vtep_mac(self) -> str:
        """The MAC of this host's tunnel end, made or not."""
        return topology.mac_of(tunnel_address(self._network.bridge.subnet))

    # images

    @mapped()
    def resolve(self, ref: str) -> Image:
        """What `ref` names: here, else in its registry. Raises ImageNotFound, RegistryUnavailable, InvalidImage."""
        parsed = reference.parse(ref)
        found = self._images.find(parsed)
        if found is not None:
            return found
        if parsed.bare:
            raise ImageNotFound(ref)
        return self._registry.resolve(parsed)

    @mapped()
    def pull(self, ref: str, *, refresh: bool = False, progress: Progress = lambda _: None) -> Image:
        """Make the image present; if it is, nothing happens unless `refresh` asks the registry what a tag names now.
        `progress` is called while bytes arrive. Raises as `resolve`."""
        parsed = reference.parse(ref)
        with self._images.using():
            found = self._images.find(parsed)
            if found is not None and (parsed.digest or not refresh):
                return found
            if parsed.bare:
                raise ImageNotFound(ref)
            return self._registry.pull(parsed, progress)

    @mapped()
    def load(self, path: Path) -> list[Image]:
        """Bring in the images of an OCI layout, an OCI archive or a `docker save` archive. Raises InvalidImage."""
        with self._images.using():
            return archive.load(self._images, path)

    @mapped()
    def images(self) -> list[Image]:
        """Every image of this host, once for each of its names."""
        return self._images.images()

    @mapped()
    def untag(self, ref: str) -> None:
        """Take a name away; the image goes with the next `gc`. Raises ImageNotFound."""
        if not self._images.untag(reference.parse(ref)):
            raise ImageNotFound(ref)

    @mapped()
    def inspect_image(self, ref: str) -> ImageDetails:
        """All that is known of an image that is here. Raises ImageNotFound, InvalidImage."""
        digest = self._here(ref).digest
        return replace(self._images.details(digest), containers=self._users(digest))

    @mapped()
    def remove_image(self, ref: str) -> Swept:
        """Take the name away; with the last one goes the image, and what only it needed.
        Raises ImageNotFound, ImageInUse."""
        parsed = reference.parse(ref)
        found = self._images.find(parsed)
        if not self._images.remove(parsed, self._users) or found is None:
            return Swept()
        others = {image.digest for image in self._images.images()} - {found.digest}
        return self.gc(keep=others)

    @mapped()
    def save(self, refs: Sequence[str], path: Path) -> None:
        """Write images to an archive that `docker load`, podman, skopeo and `load` read. Raises ImageNotFound."""
        with self._images.using():
            save.save(self._images.blobs, [self._here(ref) for ref in refs], path)

    @mapped()
    def import_rootfs(self, path: Path, ref: str, config: ImageConfig) -> Image:
        """Make an image of a tar of a root file system. Raises InvalidImage."""
        largest_bytes = settings.read(self._image_settings).largest_layer_bytes
        with self._images.using():
            return imported.import_rootfs(self._images, path, _named(ref), config, largest_bytes)

    @mapped()
    def build(self, context: Path, ref: str, dockerfile: Path | None = None) -> Image:
        """Build a Dockerfile with buildah. Raises MissingProgram, BuildFailed, InvalidImage."""
        name = str(_named(ref))
        with self._images.using(), tempfile.TemporaryDirectory(prefix=".build-", dir=self._paths.images) as draft:
            target = Path(draft) / "image.tar"
            buildah.build(context, dockerfile, name, self._paths.images, target)
            (built,) = archive.load(self._images, target)
        return built

    @mapped()
    def gc(self, *, keep: Iterable[str] = (), unused: bool = False, older_than_s: float = 0.0) -> Swept:
        """Delete images that have no name, with `unused` also those that no container uses, and what only they needed.

        `keep` are digests to leave in any case; with `older_than_s` also what was brought, or left by its last
        container, more recently. Also sweeps what crashes left.
        """
        self._life.sweep()
        asked = set(keep)

        def needed() -> tuple[set[str], set[str]]:
            records = self._records.all()
            layers = {layer for record in records for layer in record.layers}
            return asked | {record.image_digest for record in records}, layers

        used_before = time.time() - older_than_s if older_than_s else math.inf
        return self._images.collect(needed, unused=unused, used_before=used_before)

    def _here(self, ref: str) -> Image:
        found = self._images.find(reference.parse(ref))
        if found is None:
            raise ImageNotFound(ref)
        return found

    def _users(self, digest: str) -> tuple[str, ...]:
        return tuple(record.spec.name for record in self._records.all() if record.image_digest == digest)

    # containers

    @mapped()
    def create(self, spec: ContainerSpec) -> Container:
        """Make a container of an image that is present. Raises ImageNotFound, ContainerExists, InvalidSpec,
        NoAddressLeft, PortTaken, KernelRefused; then nothing is left of it."""
        image = self._here(spec.image)
        self._life.create(spec, image)
        self._images.used(image.digest)
        return self.inspect(spec.name)

    @mapped()
    def start(self, name: str) -> Container:
        """Run it, for the first time or again, with the same address, files and log; fine if it runs.
        Raises ContainerNotFound, StartFailed."""
        self._life.start(name)
        return self.inspect(name)

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

    def signal(self, name: str, signal: str) -> None:
        """Send a signal ("SIGTERM", "TERM" or "15") to its first process; fine if it has ended.
        Raises ContainerNotFound, InvalidSpec."""
        record = self._records.read(name)
        start = self._records.read_start(name)
        number = _number(name, signal)
        if start is None:
            return
        if record.spec.init and number != signals.SIGKILL:
            start.process.begun(INIT_TIMEOUT_S)
        start.process.signal(number)

    def exit_fd(self, name: str) -> int | None:
        """A new file descriptor that is readable once the container has ended and its exit code is known; None if it
        does not run. The caller closes it. Raises ContainerNotFound."""
        self._records.read(name)
        start = self._records.read_start(name)
        if start is None:
            return None
        shim = start.shim.open()
        return shim if shim is not None else start.process.open()

    def stop(self, name: str, grace_s: float = 10.0) -> Container:
        """Stop signal, `grace_s` of patience, then SIGKILL. Raises ContainerNotFound, StillAlive."""
        self.signal(name, self._records.read(name).spec.stop_signal or "SIGTERM")
        if not self.wait(name, grace_s):
            self.signal(name, "SIGKILL")
            if not self.wait(name, KILL_TIMEOUT_S):
                raise StillAlive(name)
        return self.inspect(name)

    def wait(self, name: str, timeout_s: float) -> bool:
        """Whether it has ended, at the latest after `timeout_s`. Raises ContainerNotFound."""
        fd = self.exit_fd(name)
        if fd is None:
            return True
        try:
            return readable(fd, timeout_s)
        finally:
            os.close(fd)

    @mapped()
    def remove(self, name: str) -> None:
        """Kill it if it runs, and give back address, namespaces, mounts and files; fine if there is none.
        Raises StillAlive."""
        with contextlib.suppress(ContainerNotFound):
            self._images.used(self._records.read(name).image_digest)  # its use ends now
        self._life.remove(name)

    # what happens inside

    @mapped()
    def exec_probe(self, name: str, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run a command inside: exit code, and the end of what it wrote. At the deadline it is killed inside, and the
        code is 124. Raises ContainerNotFound, NotRunning."""
        process = execute.with_argv(self._process(name), argv)
        return execute.probe(self._engine, name, process, timeout_s, self._paths.bundle(name))

    @mapped()
    def exec_interactive(self, name: str, argv: Sequence[str], tty: bool = False) -> int:
        """Run a command inside on this process's own stdio; its exit code. Raises ContainerNotFound, NotRunning."""
        process = execute.with_argv(self._process(name), argv, terminal=tty)
        return execute.interactive(self._engine, name, process, self._paths.bundle(name))

    def logs(self, name: str, tail: int | None = None) -> Iterator[LogLine]:
        """What it wrote, of all its starts, or the last `tail` lines. Raises ContainerNotFound."""
        self._records.read(name)
        return logs.read(self._paths.log(name), tail)

    def follow_logs(self, name: str, tail: int | None = None) -> Iterator[LogLine]:
        """The same, and what it writes from now on until it ends. Raises ContainerNotFound."""
        self._records.read(name)
        return logs.follow(self._paths.log(name), tail, lambda: self.exit_fd(name))

    @mapped()
    def tail(self, name: str, n: int) -> Sequence[str]:
        """The text of the last `n` lines it wrote. Raises ContainerNotFound."""
        self._records.read(name)
        return [line.text for line in logs.last(self._paths.log(name), n)]

    def _process(self, name: str) -> dict[str, Any]:
        """The process of the bundle. Raises ContainerNotFound, NotRunning."""
        container = self.inspect(name)
        if container.state is not State.RUNNING:
            raise NotRunning(name, container.state)
        found: dict[str, Any] = json.loads((self._paths.bundle(name) / "config.json").read_bytes())["process"]
        return found


def _planned(paths: HostPaths, subnet: str | None, bridge: str | None) -> topology.Bridge:
    """The network as asked for, else as it was, else one of its own. Raises InvalidSpec."""
    number = 1 + int(paths.id, 16) % 255
    elsewhere = {"subnet": SPARE_SUBNETS.format(number), "bridge": f"hecd-{paths.id}"}
    known = {"subnet": SUBNET, "bridge": BRIDGE} if paths.lib == LIB else elsewhere
    with contextlib.suppress(FileNotFoundError, ValueError):
        known = json.loads(paths.network_file.read_bytes())
    wanted = {"subnet": subnet or known["subnet"], "bridge": bridge or known["bridge"]}
    try:
        planned = topology.bridge(wanted["bridge"], wanted["subnet"])
    except ValueError as err:
        raise InvalidSpec(wanted["bridge"], (str(err),)) from err
    if wanted != known or not paths.network_file.exists():
        write_whole(paths.network_file, json.dumps(wanted).encode())
    return planned


def _number(name: str, signal: str) -> int:
    """The number of a signal that is named as people name them: SIGTERM, term, 15, RTMIN+3."""
    found = _SIGNAL.fullmatch(signal.upper())
    number = 0
    if found and found["number"]:
        number = int(found["number"])
    elif found and f"SIG{found['name']}" in signals.Signals.__members__:
        number = signals.Signals[f"SIG{found['name']}"] + int(found["offset"] or 0)
    if number not in signals.valid_signals():
        raise InvalidSpec(name, (f"{signal!r} is no signal, as SIGTERM is",))
    return number


def _named(ref: str) -> reference.Reference:
    """A name that an image can be given. Raises InvalidImage."""
    parsed = reference.parse(ref)
    if parsed.digest:
        raise InvalidImage(f"{ref!r} is a digest, which cannot be given", hint="Write [HOST[:PORT]/]NAME[:TAG].")
    return parsed
