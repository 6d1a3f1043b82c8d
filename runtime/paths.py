"""Where everything of one host root lies. Nobody else knows these paths."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class HostPaths:
    """`lib` outlives a reboot, `run` does not have to. Both belong to one Host root."""

    lib: Path
    run: Path

    @cached_property
    def id(self) -> str:
        """Eight characters that tell this root from others of the machine."""
        return hashlib.sha256(str(self.lib.resolve()).encode()).hexdigest()[:8]

    @cached_property
    def images(self) -> Path:
        return self.lib / "images"

    @cached_property
    def layers(self) -> Path:
        return self.lib / "layers"

    @cached_property
    def containers(self) -> Path:
        return self.lib / "containers"

    @cached_property
    def volumes(self) -> Path:
        return self.lib / "volumes"

    @cached_property
    def addresses(self) -> Path:
        return self.lib / "addresses"

    @cached_property
    def locks(self) -> Path:
        return self.run / "locks"

    @cached_property
    def container_locks(self) -> Path:
        """Apart from the other locks, as a container may have any name."""
        return self.locks / "containers"

    @cached_property
    def network_file(self) -> Path:
        """Subnet and bridge of this root, for who opens it without naming them."""
        return self.lib / "network.json"

    @cached_property
    def engine_file(self) -> Path:
        """Which engine has this root's containers, for who opens it without naming one."""
        return self.lib / "engine.json"

    @cached_property
    def overlay_file(self) -> Path:
        """The overlay this root takes part in, and its peers; there is none without an overlay."""
        return self.lib / "overlay.json"

    @cached_property
    def wireguard_key(self) -> Path:
        """The private key of this host's tunnels, where they are encrypted."""
        return self.lib / "wireguard.key"

    @cached_property
    def names_file(self) -> Path:
        """The names that the name server answers; where there is none, there is no name server."""
        return self.run / "names.json"

    @cached_property
    def resolver_file(self) -> Path:
        """Which process answers them."""
        return self.run / "resolver.json"

    @cached_property
    def netns(self) -> Path:
        return self.run / "netns"

    @cached_property
    def doorbell(self) -> Path:
        """What is written here wakes the supervisor."""
        return self.run / "doorbell"

    @cached_property
    def engine(self) -> Path:
        """State of the OCI runtime."""
        return self.run / "oci"

    @cached_property
    def bundles(self) -> Path:
        return self.run / "containers"

    @property
    def keeper(self) -> Path:
        """What belongs to the keeper of a root that is an ordinary user's."""
        return self.run / "keeper"

    @property
    def keeper_state(self) -> Path:
        return self.keeper / "state"

    @property
    def keeper_socket(self) -> Path:
        """Where it is asked for ports."""
        return self.keeper_state / "api.sock"

    @property
    def rootless(self) -> bool:
        """Whether the root is an ordinary user's: then whoever has it open is root in the keeper's namespaces only."""
        return self.keeper.exists()

    def container(self, name: str) -> Path:
        return self.containers / name

    def record(self, name: str) -> Path:
        """What the container is; a container exists if and only if this file does."""
        return self.container(name) / "container.json"

    def half_record(self, name: str) -> Path:
        """What the container will be, while it is made, or was, while it is removed."""
        return self.container(name) / "half.json"

    def rootfs(self, name: str) -> Path:
        return self.container(name) / "rootfs"

    def log(self, name: str) -> Path:
        return self.container(name) / "log"

    def own_volumes(self, name: str) -> Path:
        """Volumes without a name, which go with the container."""
        return self.container(name) / "volumes"

    def volume(self, name: str) -> Path:
        return self.volumes / name

    def volume_record(self, name: str) -> Path:
        """A volume exists if and only if this file does."""
        return self.volume(name) / "volume.json"

    def volume_data(self, name: str) -> Path:
        """What is mounted."""
        return self.volume(name) / "data"

    def bundle(self, name: str) -> Path:
        return self.bundles / name

    def memory_files(self, name: str) -> Path:
        """Where secrets and configuration files are, in memory."""
        return self.bundle(name) / "files"

    def userns(self, name: str) -> Path:
        """The user namespace, of a container whose ids are remapped."""
        return self.bundle(name) / "userns"

    def namespace(self, name: str) -> Path:
        return self.netns / name

    def cgroup(self, name: str) -> str:
        """The container's control group. Flat, so that no parent group is left behind."""
        return f"/hecd-{self.id}-{name}"

    def make(self) -> None:
        """Make the directories. Layers hold setuid files and devices: nobody but root may go in."""
        for path in (self.lib, self.run):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        for path in (self.images, self.layers, self.containers, self.volumes, self.addresses):
            path.mkdir(exist_ok=True)
        for path in (self.locks, self.container_locks, self.netns, self.engine, self.bundles, self.doorbell):
            path.mkdir(exist_ok=True)
