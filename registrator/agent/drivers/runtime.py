"""The engine of this host: the one place where registrator meets the runtime package."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from registrator.agent.names import Names, paired, unpaired
from registrator.agent.peers import Peer
from registrator.agent.ports import Ending, Seen, SeenRun
from registrator.errors import EngineAway, EngineFault, NotFound
from registrator.model.hook import Hook, Run
from registrator.model.names import InstanceName, NodeName
from registrator.model.node import Vtep
from registrator.model.release import Release, Settings
from registrator.registry.codec import CodecFault, decode, encode
from runtime.errors import ContainerNotFound, ImageNotFound, NoVxlan, NoWireguard, RuntimeFault
from runtime.errors import EngineAway as Away
from runtime.host import Host, HostPaths
from runtime.images.build import build_image, link
from runtime.model import (
    Container,
    ContainerSpec,
    Device,
    ImageConfig,
    Limits,
    LogLimits,
    MemoryFile,
    Mount,
    State,
    Ulimit,
)
from runtime.networks import kernel, overlay, rules

# Wishes that have the same name and form in both.
ALIKE = (
    *("sysctls", "group_add", "extra_hosts", "dns", "dns_search", "dns_options", "cap_add", "cap_drop"),
    *("no_new_privileges", "seccomp", "userns", "tty", "stdin_open"),
)
RELEASE_LABEL = "hecd.release"  # the whole release record, so that a container explains itself without etcd
NODE_LABEL = "hecd.node"
RUN_LABEL, RUN_RELEASE_LABEL = "hecd.run", "hecd.run.release"  # others than those of instances: it is none


class RuntimeEngine:
    """See agent.ports.Engine, agent.ports.OneOffs and agent.ports.Directory."""

    def __init__(self, host: Host, node: str) -> None:
        self._host = host
        self._node = node

    def containers(self) -> list[Seen]:
        with _mapped():
            found = [c for c in self._host.containers.list() if c.spec.labels.get(NODE_LABEL) == self._node]
        return [seen for c in found if (seen := _seen(c)) is not None]

    def start(self, instance: InstanceName, release: Release) -> Seen:
        with _mapped():
            if not _is_there(self._host, instance):
                image = self._host.images.pull(_pinned(release.settings))
                self._host.containers.create(_spec(instance, release, image.digest, self._node))
            container = self._host.containers.start(instance)
        return Seen(instance, release, True, container.address or "", time.time())

    def signal(self, instance: InstanceName, signal: str) -> None:
        with _mapped():
            container = self._host.containers.inspect(instance)
            if container.state is State.RUNNING:
                self._host.containers.signal(instance, signal or container.spec.stop_signal or "SIGTERM")

    def exit_fd(self, instance: InstanceName) -> int | None:
        with _mapped():
            return self._host.containers.exit_fd(instance)

    def remove(self, instance: InstanceName) -> None:
        with _mapped():
            self._host.containers.remove(instance)

    def ending(self, instance: InstanceName) -> Ending:
        with _mapped():
            container = self._host.containers.inspect(instance)
            tail = tuple(self._host.inside.tail(instance, 10))
        return Ending(_in_words(container), tail, container.exit_code)

    def runs(self) -> list[SeenRun]:
        with _mapped():
            found = [c for c in self._host.containers.list() if c.spec.labels.get(NODE_LABEL) == self._node]
        return [seen for c in found if (seen := _seen_run(c)) is not None]

    def prepare(self, release: Release) -> None:
        with _mapped():
            self._host.images.pull(_pinned(release.settings))

    def start_run(self, run: Run, release: Release) -> SeenRun:
        hook = release.hooks.named(run.hook)
        if hook is None:
            raise EngineFault(f"release {release.number} has no {run.hook}")
        with _mapped():
            image = self._host.images.pull(_pinned(release.settings))
            self._host.containers.create(_run_spec(run, release, hook, image.digest))
            container = self._host.containers.start(run.run)
        return SeenRun(run, release, True, container.started_at or time.time())

    def exec_probe(self, instance: InstanceName, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """Run `argv` inside the instance: exit code and the end of its output. Raises EngineFault."""
        with _mapped():
            return self._host.inside.exec_probe(instance, list(argv), timeout_s)

    def tunnel(self, address: str, pool: str, vni: int, port: int, *, encrypted: bool = False) -> RuntimeTunnel:
        """This node's part in the overlay, not yet made. Raises EngineFault."""
        with _mapped():
            return RuntimeTunnel(self._host, overlay.Overlay(address, pool, vni, port, encrypted))

    def names(self) -> Names:
        return unpaired({name: tuple(found) for name, found in self._host.network.names.names().items()})

    def serve_names(self, names: Names) -> None:
        with _mapped():
            there = self._host.containers.list() if self._host.network.bridge.subnet6 else ()
            self._host.network.names.serve(paired(names, {c.address: c.address6 for c in there if c.address6}))

    def leave(self) -> None:
        """Take part in no overlay; fine if it is so."""
        with _mapped():
            self._host.network.leave()

    def close(self) -> None:
        """Let go of the host's files and sockets; containers run on."""
        self._host.close()


class RuntimeTunnel:
    """See agent.ports.Tunnel."""

    def __init__(self, host: Host, wanted: overlay.Overlay) -> None:
        self._host = host
        self._overlay = wanted
        key = host.network.vtep_key() if wanted.encrypted else ""
        self.vtep = Vtep(wanted.underlay, host.network.vtep_mac, wanted.vni, wanted.port, key)

    def peers(self) -> list[Peer]:
        shared = self._overlay.vni, self._overlay.port
        known = self._host.network.peers
        return [Peer(NodeName(p.name), p.subnet, Vtep(p.underlay, p.mac, *shared, p.key)) for p in known]

    def apply(self, wanted: Iterable[Peer]) -> list[str]:
        with _mapped():
            found = [overlay.Peer(p.node, p.subnet, p.vtep.address, p.vtep.mac, p.vtep.key) for p in wanted]
            return self._host.network.join(self._overlay, found)


class Local:
    """The containers and images of this host, for the commands that a person types here."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def digest(self, image: str) -> str:
        """The digest of the manifest that `image` names now. Raises NotFound, EngineFault."""
        with _mapped():
            return self._host.images.resolve(image).digest

    def load(self, path: Path) -> list[str]:
        """Load an OCI layout, OCI archive or `docker save` archive; the names of its images."""
        with _mapped():
            return [image.ref for image in self._host.images.load(path)]

    def fetch(self, image: str, path: Path) -> None:
        """Pull an image unless it is here, and write it to an archive at `path`. Raises NotFound, EngineFault."""
        with _mapped():
            self._host.catalog.pull(image)
            self._host.catalog.save([image], path)

    def has(self, instance: str) -> bool:
        """Whether the instance's container is on this host."""
        with _mapped():
            return _is_there(self._host, instance)

    def logs(self, instance: str, *, tail: int | None, follow: bool) -> Iterator[tuple[datetime, str, str]]:
        """Lines as (time, stream, text), for ever with `follow`."""
        with _mapped():
            lines = (
                self._host.inside.follow_logs(instance, tail=tail)
                if follow
                else self._host.inside.logs(instance, tail=tail)
            )
            for line in lines:
                yield line.timestamp, line.stream, line.text

    def exec(self, instance: str, argv: Sequence[str], *, tty: bool) -> int:
        """Run a command inside with this process's terminal; its exit code."""
        with _mapped():
            return self._host.inside.exec_interactive(instance, list(argv), tty=tty)

    def kill(self, instance: str) -> None:
        """SIGKILL to everything in the container."""
        with _mapped():
            self._host.containers.signal(instance, "SIGKILL")

    def remove_all(self) -> int:
        """Remove every container that an agent started here, overlay and name server; how many containers. `close`
        takes the network of the last one."""
        with _mapped():
            ours = [c for c in self._host.containers.list() if NODE_LABEL in c.spec.labels]
            for container in ours:
                self._host.containers.remove(container.name)
            self._host.network.leave()
            self._host.network.names.end()
        return len(ours)

    def close(self) -> None:
        """Let go of the host's files and sockets."""
        self._host.close()


def open_host(lib: Path, run: Path, subnet: str, bridge: str, engine: str = "", socket: str = "") -> Host:
    """The runtime of this host below `lib` and `run`. Raises EngineFault when something it needs is missing, EngineAway
    while Docker or Podman does not answer."""
    with _mapped():
        return Host.open(lib / "runtime", run / "runtime", subnet, bridge, engine=engine, socket=socket)


def addresses_of_others(lib: Path, run: Path, bridge: str) -> list[str]:
    """What IPv4 addresses this machine has, but those of this host's own network. Raises EngineFault."""
    table = rules.TABLES + HostPaths(lib / "runtime", run / "runtime").id
    with _mapped():
        return kernel.addresses_of_others(bridge, table)


def _is_there(host: Host, name: str) -> bool:
    try:
        host.containers.inspect(name)
    except ContainerNotFound:
        return False
    return True


def traces(lib: Path, run: Path) -> tuple[list[Path], str]:
    """Where containers of a host are in the kernel: the pins of their network namespaces, and what the names of their
    control groups begin with."""
    paths = HostPaths(lib / "runtime", run / "runtime")
    return sorted(paths.netns.glob("*")), paths.cgroup("")


def build_layout(layout: Path, name: str, layers: Sequence[Mapping[str, bytes | str]], command: Sequence[str]) -> None:
    """Write an image as an OCI layout; a layer maps paths to content (bytes) or a symbolic link's target (str)."""
    trees = [{path: link(c) if isinstance(c, str) else c for path, c in layer.items()} for layer in layers]
    build_image(layout, name, trees, ImageConfig(command=tuple(command)))


class _mapped:
    """Turns the runtime's errors into ours, at this edge and nowhere else."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, NoVxlan | NoWireguard):
            raise NoOverlay(err.brief, details=tuple(err.details), hint=err.hint) from err
        if isinstance(err, ImageNotFound):
            raise NotFoundImage(err.brief, details=tuple(err.details), hint=err.hint) from err
        if isinstance(err, Away):
            raise EngineAway(err.brief, hint=err.hint, retry_after_s=err.retry_after_s) from err
        if isinstance(err, RuntimeFault):
            retry_after_s = getattr(err, "retry_after_s", None)
            details = tuple(err.details)
            raise EngineFault(err.brief, details=details, hint=err.hint, retry_after_s=retry_after_s) from err


class NoOverlay(EngineFault):
    """The kernel cannot take part in one."""


class NotFoundImage(EngineFault, NotFound):
    """The image exists neither here nor in its registry."""


def _pinned(settings: Settings) -> str:
    """The image by digest, so that a tag which moved on changes nothing of this release."""
    if not settings.digest or "@" in settings.image:
        return settings.image
    name, colon, tag = settings.image.rpartition(":")
    bare = name if colon and "/" not in tag else settings.image
    return f"{bare}@{settings.digest}"


def _spec(instance: InstanceName, release: Release, digest: str, node: str) -> ContainerSpec:
    s = release.settings
    return ContainerSpec(
        name=instance,
        image=digest,
        entrypoint=s.entrypoint,
        command=s.command,
        environment={
            **s.environment,
            "HECD_SERVICE": release.service,
            "HECD_INSTANCE": instance,
            "HECD_RELEASE": str(release.number),
            "HECD_NODE": node,
        },
        user=s.user,
        working_dir=s.working_dir,
        read_only=s.read_only,
        mounts=tuple(
            Mount(m.kind, m.target, source=m.source, read_only=m.read_only, size_bytes=m.size_bytes) for m in s.mounts
        ),
        limits=Limits(cpus=s.limits.cpus, memory_bytes=s.limits.memory_bytes, pids=s.limits.pids),
        stop_signal=s.stop_signal,
        labels={**s.labels, RELEASE_LABEL: encode(release).decode(), NODE_LABEL: node},
        hostname=instance.replace(".", "-"),
        ulimits=tuple(Ulimit(**asdict(limit)) for limit in s.wishes.ulimits),
        devices=tuple(Device(**asdict(device)) for device in s.wishes.devices),
        files=tuple(MemoryFile(**asdict(file)) for file in s.wishes.files),
        log=LogLimits(**asdict(s.wishes.log)),
        **{name: getattr(s.wishes, name) for name in ALIKE},
    )


def _run_spec(run: Run, release: Release, hook: Hook, digest: str) -> ContainerSpec:
    """As an instance of the release is made, with another command, and nothing by which it would be taken for one."""
    like = _spec(InstanceName(run.run), release, digest, run.node)
    environment = {**like.environment, **hook.environment, "HECD_HOOK": run.hook}
    del environment["HECD_INSTANCE"]
    labels = {**release.settings.labels, NODE_LABEL: run.node}
    labels |= {RUN_LABEL: encode(run).decode(), RUN_RELEASE_LABEL: encode(release).decode()}
    return replace(
        like,
        command=hook.command,
        entrypoint=like.entrypoint if hook.entrypoint is None else hook.entrypoint,
        environment=environment,
        labels=labels,
        hostname=f"{release.service}-hook",
    )


def _seen_run(container: Container) -> SeenRun | None:
    try:
        run = decode(Run, container.spec.labels[RUN_LABEL].encode())
        release = decode(Release, container.spec.labels[RUN_RELEASE_LABEL].encode())
    except (KeyError, CodecFault):
        return None
    return SeenRun(run, release, container.state is State.RUNNING, container.started_at or 0.0)


def _seen(container: Container) -> Seen | None:
    try:
        release = decode(Release, container.spec.labels[RELEASE_LABEL].encode())
    except (KeyError, CodecFault):
        return None
    running = container.state is State.RUNNING
    return Seen(InstanceName(container.name), release, running, container.address or "", container.started_at or 0.0)


def _in_words(container: Container) -> str:
    if container.oom_killed:
        return "out of memory"
    if container.signal:
        return f"killed by {container.signal}"
    if container.exit_code is None:
        return "its end was not seen"
    return f"exit code {container.exit_code}"
