"""Every error runtime raises on purpose."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class RuntimeFault(Exception):
    """Root of runtime's errors.

    `brief` is one line for the user, `details` are further lines, `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.hint = hint


class MissingProgram(RuntimeFault):
    """A program or library that is needed is not installed; `package` is Debian's name for it."""

    exit_code = 6

    def __init__(self, program: str, package: str) -> None:
        super().__init__(f"{program} is not installed", hint=f"Install it: apt-get install {package}")
        self.program = program
        self.package = package


class NotPermitted(RuntimeFault):
    """Containers are made by root only."""

    exit_code = 6


class InvalidSpec(RuntimeFault):
    """A container was described in a way that cannot be; `faults` has one line for each mistake."""

    exit_code = 2

    def __init__(self, name: str, faults: tuple[str, ...]) -> None:
        brief = faults[0] if len(faults) == 1 else f"{len(faults)} mistakes in the description of {name!r}"
        super().__init__(brief, details=faults if len(faults) > 1 else (), hint="docs/runtime.md lists what may stand.")
        self.faults = faults


class ContainerNotFound(RuntimeFault):
    """No container has this name."""

    exit_code = 4

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no container {name!r}", hint="`hecd-runtime ps -a` lists those there are.")


class ContainerExists(RuntimeFault):
    """The name is taken."""

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(
            f"a container {name!r} exists already",
            hint=hint or f"Remove it (`hecd-runtime rm -f {name}`) or take another name.",
        )


class NotRunning(RuntimeFault):
    """The container has to run for this, and does not."""

    def __init__(self, name: str, state: str) -> None:
        super().__init__(
            f"container {name!r} does not run (it is {state})", hint=f"Start it: hecd-runtime start {name}"
        )


class NotCopied(RuntimeFault):
    """Files were not copied, or not all of them; the brief says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not copied: {why}")


class StartFailed(RuntimeFault):
    """The OCI runtime refused; `details` has its words."""


class ImageNotFound(RuntimeFault):
    """The image is neither on this host nor in its registry."""

    exit_code = 4

    def __init__(self, ref: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"there is no image {ref!r}, neither on this host nor in its registry",
            details=details,
            hint="Check the name, or load it from disk: hecd-runtime image load PATH",
        )
        self.ref = ref


class InvalidImage(RuntimeFault):
    """A reference, manifest, archive or layer does not follow its format, or is not what its digest says."""


class RegistryUnavailable(RuntimeFault):
    """The registry did not answer; the call may be repeated after `retry_after_s` seconds."""

    exit_code = 3

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), retry_after_s: float = 5.0) -> None:
        super().__init__(
            brief,
            details=details,
            hint="Is the registry reachable, and are you logged in (`skopeo login`)? Then try again.",
        )
        self.retry_after_s = retry_after_s


class RegistryDenied(RegistryUnavailable):
    """The registry wants other credentials, or says so of what it does not have."""

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str) -> None:
        super().__init__(brief, details=details, retry_after_s=60.0)
        self.hint = hint


class RegistryUntrusted(RegistryUnavailable):
    """The certificate of the registry is signed by nobody we trust, or is not its own."""

    def __init__(self, brief: str, *, details: tuple[str, ...] = (), hint: str) -> None:
        super().__init__(brief, details=details, retry_after_s=60.0)
        self.hint = hint


class CredentialsUnreadable(RuntimeFault):
    """Docker's configuration or a credential helper does not say who we are."""


class ImageInUse(RuntimeFault):
    """The last name of an image that containers are made of cannot be removed."""

    def __init__(self, ref: str, containers: tuple[str, ...]) -> None:
        super().__init__(
            f"image {ref!r} is in use by {', '.join(containers)}",
            hint="Remove these containers first: hecd-runtime rm -f " + " ".join(containers),
        )
        self.containers = containers


class VolumeNotFound(RuntimeFault):
    """No volume has this name."""

    exit_code = 4

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no volume {name!r}", hint="`hecd-runtime volume ls` lists those there are.")


class VolumeInUse(RuntimeFault):
    """Containers, running or not, mount the volume."""

    def __init__(self, name: str, containers: tuple[str, ...]) -> None:
        super().__init__(
            f"volume {name!r} is in use by {', '.join(containers)}",
            hint="Remove these containers first: hecd-runtime rm -f " + " ".join(containers),
        )
        self.containers = containers


class BuildFailed(RuntimeFault):
    """A Dockerfile could not be built; the builder has said why."""


class InvalidSettings(RuntimeFault):
    """A settings file says what cannot be; `faults` has one line for each mistake."""

    exit_code = 2

    def __init__(self, path: object, faults: tuple[str, ...], hint: str = "") -> None:
        super().__init__(
            f"{path}: {faults[0]}",
            details=tuple(f"{path}: {fault}" for fault in faults[1:]),
            hint=hint or "docs/runtime.md says what may stand there.",
        )
        self.faults = faults


class EngineAway(RuntimeFault):
    """Docker or Podman does not answer; its containers may run on. The call may be repeated after `retry_after_s`
    seconds."""

    exit_code = 3

    def __init__(self, socket: object, why: str, retry_after_s: float = 2.0) -> None:
        super().__init__(
            f"the engine at {socket} does not answer: {why}",
            hint="Start it (systemctl start docker, or podman.socket), or name another: --docker-socket PATH",
        )
        self.retry_after_s = retry_after_s


class EngineRefused(RuntimeFault):
    """Docker or Podman answered with an error; `status` is that of HTTP."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"the engine refuses: {words.strip()}", hint="Its own log says more.")
        self.status = status
        self.words = words.strip()


class OtherEngine(RuntimeFault):
    """The root has containers of another engine."""

    exit_code = 2

    def __init__(self, wanted: str, here: str, containers: tuple[str, ...]) -> None:
        super().__init__(
            f"this root has containers of the engine {here!r}, and {wanted!r} is asked for",
            details=(", ".join(containers),),
            hint=f"Remove them first (hecd-runtime --engine {here} rm -f NAME…), or use another --root.",
        )


class NotHere(RuntimeFault):
    """What is asked for is the engine's own business."""

    exit_code = 2


class NoAddressLeft(RuntimeFault):
    """Every address of the subnet is taken."""

    def __init__(self, subnet: str) -> None:
        super().__init__(
            f"every address of {subnet} is taken",
            hint="Remove containers (`hecd-runtime ps -a`), or use a larger subnet.",
        )


class PortTaken(RuntimeFault):
    """A published port is in use on this host."""

    def __init__(self, port: str, by: str) -> None:
        super().__init__(f"port {port} is taken already, by {by}", hint="Publish another port, or stop what uses it.")


class NetworkTaken(RuntimeFault):
    """Another root of this machine has the bridge, or a link has an address in the subnet: what is sent to one would
    reach the other."""

    def __init__(self, what: str, by: str) -> None:
        super().__init__(
            f"{what} is taken already, by {by}",
            hint="Take another (HECD_BRIDGE, HECD_SUBNET_POOL; --bridge, --subnet of hecd-runtime), or end what has it "
            "as docs/operations.md tells: Two roots on one machine.",
        )


class KernelRefused(RuntimeFault):
    """A system call or a netlink or nftables request failed; `brief` says which."""


class NetlinkRefused(KernelRefused):
    """The kernel refused something of links, addresses, routes or neighbours."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"cannot {what}: {why}", hint="Run as root; `ip link` shows what is there.")


class NoVxlan(KernelRefused):
    """The kernel has no VXLAN."""

    def __init__(self) -> None:
        super().__init__(
            "this kernel has no VXLAN, so containers of other hosts are not reached",
            hint="Load it (modprobe vxlan), install a kernel that has it, or switch the overlay off.",
        )


class NoWireguard(KernelRefused):
    """The kernel has no WireGuard, and there is no program in its place."""

    def __init__(self) -> None:
        super().__init__(
            "this kernel has no WireGuard, and nothing is sent to other hosts without encryption that was asked for",
            hint="Load it (modprobe wireguard), or install a program in its place: apt-get install wireguard-go.",
        )


class DiskRefused(RuntimeFault):
    """A file could not be read or written: the disk is full, or read-only, or fails."""

    def __init__(self, err: OSError) -> None:
        full = err.errno in (errno.ENOSPC, errno.EDQUOT)
        super().__init__(
            f"{err.filename or 'a file'}: {err.strerror or err}",
            hint="Make room: `hecd-runtime gc --all` deletes unused images." if full else "Is the disk in order?",
        )


@contextmanager
def mapped() -> Iterator[None]:
    """What the system says about files becomes DiskRefused, at the edge of this package."""
    try:
        yield
    except OSError as err:
        raise DiskRefused(err) from err


class StillAlive(RuntimeFault):
    """A container did not end though it was killed; the call may be repeated."""

    def __init__(self, name: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"container {name!r} does not end", hint="A process in it waits for the kernel. Try again.")
        self.retry_after_s = retry_after_s
