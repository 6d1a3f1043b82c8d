"""One host: its containers, images and network below one pair of directories. Everything else stands behind these."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from runtime import policy
from runtime.choice import chosen
from runtime.containers import OciContainers
from runtime.copying import Root
from runtime.engines.oci import OciEngine
from runtime.errors import InvalidSpec, NotHere, NotPermitted, NotRunning, mapped
from runtime.images import settings
from runtime.images.catalog import Catalog
from runtime.images.layers import Layers
from runtime.images.store import ImageStore
from runtime.inside import OciInside
from runtime.lifecycle import Lifecycle
from runtime.networks import topology
from runtime.networks.ipam import Addresses
from runtime.networks.network import Network
from runtime.paths import HostPaths
from runtime.ports import Containers, Images, Inside
from runtime.state import Records, held, write_whole
from runtime.volumes import Volumes

__all__ = ["Host", "HostPaths"]

LIB = Path("/var/lib/hecd/runtime")
RUN = Path("/run/hecd/runtime")
SUBNET = "10.87.0.0/24"
BRIDGE = "hecd0"
SPARE_SUBNETS = "10.87.{}.0/24"  # one of 1-255 for a root elsewhere


class Host:
    """`containers`, what happens `inside` of them, their `images`, `volumes` and `network`.

    Calls are short and blocking. Any number of threads and processes may use one root at once; the state is on disk, in
    the kernel, and with Docker where that has the containers, so that whoever opens the root next finds everything,
    whatever happened to the one before.
    """

    def __init__(
        self,
        paths: HostPaths,
        addresses: Addresses,
        network: Network,
        parts: tuple[Containers, Inside, Images],
        let_go: Callable[[bool], None] = lambda torn_down: None,
        volumes: Volumes | None = None,
    ) -> None:
        self._paths = paths
        self._volumes = volumes
        self._addresses = addresses
        self._let_go = let_go
        self.network = network
        self.containers, self.inside, self.images = parts

    @classmethod
    @mapped()
    def open(
        cls,
        lib: Path = LIB,
        run: Path = RUN,
        subnet: str | None = None,
        bridge: str | None = None,
        image_settings: Path = settings.FILE,
        engine: str = "",
        socket: str = "",
        subnet6: str | None = None,
    ) -> Host:
        """Open a root, make it if it is new, and take away what crashes left.

        Without `subnet`, `subnet6` and `bridge` they are those the root had last; a `subnet6` of "" is none, and where
        none was ever named, it is that of the host's policy. So it is with `engine` (oci, docker, podman) and the
        `socket` of Docker or Podman; where neither was ever named, it is `oci`.
        Raises NotPermitted, MissingProgram, InvalidSpec, InvalidSettings, OtherEngine, EngineAway.
        """
        if os.geteuid() != 0:
            hint = "`hecd-runtime` enters such namespaces by itself; everything else of HECD needs root."
            raise NotPermitted("containers are made by root, or in namespaces where one is root", hint=hint)
        paths = HostPaths(lib.absolute(), run.absolute())
        _must_be_ours(paths)
        paths.make()
        switch = planned(paths, subnet, bridge, subnet6)
        addresses, network = Addresses(paths.addresses, switch.subnet, paths.locks), Network(paths, switch)
        choice = chosen(paths, engine, socket, addresses.all().values())
        if choice.socket:
            return cls._with_docker(paths, addresses, network, Path(choice.socket))
        return cls._with_oci(paths, addresses, network, image_settings)

    @classmethod
    def _with_oci(cls, paths: HostPaths, addresses: Addresses, network: Network, image_settings: Path) -> Host:
        engine, records = OciEngine.open(paths), Records(paths)
        engine.surroundings()  # says what is missing now, not when the first container starts
        layers = Layers(paths.layers, paths.locks, lambda: settings.read(image_settings).largest_layer_bytes)
        layers.ensure_mountpoints()
        store = ImageStore(paths.images, layers, paths.locks)
        volumes = Volumes(paths, records.mounting)
        life = Lifecycle(paths, records, store, addresses, network, engine, volumes)
        images = Catalog(paths, store, records, life.sweep, image_settings)
        containers = OciContainers(paths, records, images, life, engine)
        life.sweep()
        parts = containers, OciInside(paths, engine, containers), images
        return cls(paths, addresses, network, parts, volumes=volumes)

    @classmethod
    def _with_docker(cls, paths: HostPaths, addresses: Addresses, network: Network, socket: Path) -> Host:
        from runtime.docker import firewall  # who has no Docker does not pay for it
        from runtime.docker.connection import Connection
        from runtime.docker.containers import DockerContainers
        from runtime.docker.images import DockerImages
        from runtime.docker.inside import DockerInside

        connection = Connection(socket)
        images = DockerImages(connection, paths.images)
        containers = DockerContainers(paths, connection, images, addresses, network)
        containers.sweep()
        firewall.let_through(network.bridge)

        def let_go(torn_down: bool) -> None:
            containers.close()
            if torn_down:
                firewall.forget(network.bridge)

        inside = DockerInside(connection, containers.inspect)
        return cls(paths, addresses, network, (containers, inside, images), let_go)

    @property
    def catalog(self) -> Catalog:
        """The images, where they are this root's own to keep. Raises NotHere."""
        if not isinstance(self.images, Catalog):
            raise NotHere(
                "the images of this root are Docker's or Podman's", hint="Use `docker image` or `podman image`."
            )
        return self.images

    @property
    def supervised(self) -> OciContainers:
        """The containers, where this root itself can run them again. Raises NotHere."""
        if not isinstance(self.containers, OciContainers):
            raise NotHere("the containers of this root are its engine's to run", hint="They have no restart policy.")
        return self.containers

    @property
    def volumes(self) -> Volumes:
        """Named volumes, where they are this root's own to keep. Raises NotHere."""
        if self._volumes is None:
            raise NotHere("the volumes of this root are its engine's", hint="Use `docker volume` or `podman volume`.")
        return self._volumes

    def root_of(self, name: str) -> Root:
        """Where its files are, as it sees them itself while it runs; else without what is mounted in it.
        Raises ContainerNotFound, NotRunning."""
        container = self.containers.inspect(name)
        if container.pid:
            return Root(Path(f"/proc/{container.pid}/root"), Path(f"/proc/{container.pid}/ns/user"))
        if os.path.ismount(rootfs := self._paths.rootfs(name)):
            return Root(rootfs, self._paths.userns(name) if container.idmap else None)
        raise NotRunning(name, container.state)

    @property
    def paths(self) -> HostPaths:
        """Where everything of this root lies."""
        return self._paths

    @mapped()
    def close(self) -> None:
        """Let go. Containers run on; without any, and outside of an overlay, bridge and rules go away too."""
        with held(self._paths.locks / "network"):
            alone = not self._addresses.all() and self.network.joined is None
            if alone:
                self.network.teardown()
            self._let_go(alone)


def _must_be_ours(paths: HostPaths) -> None:
    """Root's files and processes in a user's root would be in the user's way, whose root is another one."""
    if paths.rootless and (owner := paths.keeper.stat().st_uid) != os.geteuid():
        raise NotPermitted(f"{paths.lib} is of user {owner}, who runs containers without root", hint="Be that user.")


def planned(paths: HostPaths, subnet: str | None, bridge: str | None, subnet6: str | None = None) -> topology.Bridge:
    """The network as asked for, else as it was, else one of its own, with IPv6 if the host's policy says so. Raises
    InvalidSpec, InvalidSettings."""
    number = 1 + int(paths.id, 16) % 255
    elsewhere = {"subnet": SPARE_SUBNETS.format(number), "bridge": f"hecd-{paths.id}"}
    known = {"subnet": SUBNET, "bridge": BRIDGE} if paths.lib == LIB else elsewhere
    with contextlib.suppress(FileNotFoundError, ValueError):
        known = json.loads(paths.network_file.read_bytes())
    wanted = {"subnet": subnet or known["subnet"], "bridge": bridge or known["bridge"]}
    six = known.get("subnet6") if subnet6 is None else subnet6
    if six is not None:
        wanted["subnet6"] = six
    elif paths.lib == LIB:
        six = policy.read(policy.FILE).ipv6_subnet
    try:
        planned = topology.bridge(wanted["bridge"], wanted["subnet"], six or "")
    except ValueError as err:
        raise InvalidSpec(wanted["bridge"], (str(err),)) from err
    if paths.lib.exists() and (wanted != known or not paths.network_file.exists()):
        write_whole(paths.network_file, json.dumps(wanted).encode())
    return planned
