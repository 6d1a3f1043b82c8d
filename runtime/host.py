"""One host: its containers, images and network below one pair of directories. Everything else stands behind these."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from runtime.containers import Containers
from runtime.engines.oci import OciEngine
from runtime.errors import InvalidSpec, NotPermitted, mapped
from runtime.images import settings
from runtime.images.catalog import Catalog
from runtime.images.layers import Layers
from runtime.images.store import ImageStore
from runtime.inside import Inside
from runtime.lifecycle import Lifecycle
from runtime.networks import topology
from runtime.networks.ipam import Addresses
from runtime.networks.network import Network
from runtime.paths import HostPaths
from runtime.ports import Engine
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

    Calls are short and blocking. Any number of threads and processes may use one root at once; the state is on disk and
    in the kernel, so that whoever opens the root next finds everything, whatever happened to the one before.
    """

    def __init__(self, paths: HostPaths, bridge: topology.Bridge, engine: Engine, image_settings: Path) -> None:
        self._paths = paths
        self._addresses = Addresses(paths.addresses, bridge.subnet, paths.locks)
        records = Records(paths)
        layers = Layers(paths.layers, paths.locks, lambda: settings.read(image_settings).largest_layer_bytes)
        store = ImageStore(paths.images, layers, paths.locks)
        self.network = Network(paths, bridge)
        self.volumes = Volumes(paths, records.mounting)
        life = Lifecycle(paths, records, store, self._addresses, self.network, engine, self.volumes)
        self.images = Catalog(paths, store, records, life.sweep, image_settings)
        self.containers = Containers(paths, records, self.images, life, engine)
        self.inside = Inside(paths, engine, self.containers.inspect, self.containers.exit_fd)
        life.sweep()

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
        return cls(paths, planned(paths, subnet, bridge), engine, image_settings)

    @property
    def paths(self) -> HostPaths:
        """Where everything of this root lies."""
        return self._paths

    @mapped()
    def close(self) -> None:
        """Let go. Containers run on; without any, and outside of an overlay, bridge and rules go away too."""
        with held(self._paths.locks / "network"):
            if not self._addresses.all() and self.network.joined is None:
                self.network.teardown()


def planned(paths: HostPaths, subnet: str | None, bridge: str | None) -> topology.Bridge:
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
    if paths.lib.exists() and (wanted != known or not paths.network_file.exists()):
        write_whole(paths.network_file, json.dumps(wanted).encode())
    return planned
