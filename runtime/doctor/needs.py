"""What this host has to have. Where it can be, the thing itself is tried, in namespaces that end with the trial."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from runtime import policy, subids, userns
from runtime.doctor import neighbours
from runtime.doctor.need import Need
from runtime.engines.cgroups import Cgroups
from runtime.engines.oci import INIT, SECCOMP
from runtime.errors import InvalidSettings, RuntimeFault
from runtime.images.rootfs import Owners, mount_rootfs, unmount_rootfs
from runtime.linux import CLONE_NEWNET, CLONE_NEWNS, MS_PRIVATE, MS_REC, in_thread, mount, unmount, unshare
from runtime.model import IdMap
from runtime.networks.kernel import netlink
from runtime.networks.nft import Nft
from runtime.paths import HostPaths

LINKS: dict[str, dict[str, object]] = {"bridge": {}, "veth": {"peer": "hecd-try1"}, "vxlan": {"vxlan_id": 87}}
BETWEEN_HOSTS = ("vxlan",)  # which is root's only


def needs(paths: HostPaths) -> Iterator[Need]:
    """All of them, in the order in which they are worth mending."""
    yield Need("root", os.geteuid() == 0, "Run it with sudo.")
    yield from _programs()
    if paths.rootless:
        hint = "Without root there are none: no limits, no `stats`."
        yield Need("control groups for containers", False, hint, vital=False)
    else:
        yield from _cgroups(Cgroups.probe())
    yield _tried("overlayfs on the disk of the root", lambda: _try_overlay(paths), "modprobe overlay; or another disk")
    for kind, words in LINKS.items():
        if kind in BETWEEN_HOSTS and paths.rootless:
            continue
        trial = _link_trial(kind, words)
        yield _tried(f"network devices: {kind}", trial, f"modprobe {kind}", vital=kind not in BETWEEN_HOSTS)
    yield _tried("nf_tables", lambda: Nft().run("list tables"), "modprobe nf_tables; apt-get install libnftables1")
    yield from _forwarding()
    if paths.rootless:
        return
    yield from neighbours.room()
    there = Path("/proc/sys/net/ipv6").exists()
    yield Need("IPv6", there, "Boot without ipv6.disable=1; containers have IPv4 meanwhile.", vital=False)
    yield from _remapping(paths)


def _programs() -> Iterator[Need]:
    runtime = shutil.which("crun") or shutil.which("runc")
    yield Need(f"crun or runc: {runtime or 'neither'}", runtime is not None, "apt-get install crun")
    for program, package, vital in (
        ("conmon", "conmon", True),
        ("cp", "coreutils", True),
        ("skopeo", "skopeo", False),
        ("zstd", "zstd", False),
        ("buildah", "buildah", False),
    ):
        yield Need(program, shutil.which(program) is not None, f"apt-get install {package}", vital)
    yield Need(INIT, Path(INIT).exists(), "apt-get install tini")
    profile = any(path.exists() for path in SECCOMP)
    yield Need(f"the seccomp profile {SECCOMP[0]}", profile, "apt-get install golang-github-containers-common")


def _cgroups(found: Cgroups) -> Iterator[Need]:
    version = "2" if found.unified else "1 and 2 beside each other" if found.hybrid_controllers else "1"
    where = found.root / "cgroup.controllers"
    controllers = set(where.read_text().split()) if found.unified else {e.name for e in os.scandir(found.root)}
    for name in ("cpu", "memory", "pids"):
        hint = f"Boot the kernel with cgroup_enable={name}."
        yield Need(f"cgroups (version {version}): {name}", name in controllers, hint)
    yield Need("cgroups count swap", found.swap_limited, "Boot with swapaccount=1; limits leave swap out.", vital=False)


def _forwarding() -> Iterator[Need]:
    value = Path("/proc/sys/net/ipv4/ip_forward")
    writable = os.access(value, os.W_OK)
    yield Need(
        "ip_forward is on, or can be", value.read_text().strip() == "1" or writable, "sysctl net.ipv4.ip_forward=1"
    )
    try:
        dropped = "policy drop" in Nft().run("list chain ip filter FORWARD")
    except RuntimeFault:
        dropped = False
    hint = 'docs/runtime.md, "When something is in the way", has the two rules that let ours through.'
    yield Need("no other firewall drops forwarded packets", not dropped, hint, vital=False)


def _remapping(paths: HostPaths) -> Iterator[Need]:
    """Where the host's settings give containers other ids than its own."""
    try:
        wanted = policy.read(policy.FILE).userns_remap
        idmap = subids.idmap(wanted, policy.FILE) if wanted else None
    except InvalidSettings as err:
        yield Need(err.brief, False, err.hint)
        return
    if idmap is not None:
        ids = ", ".join(f"{r.outside}:{r.size}" for r in idmap.uids)
        yield Need("crun, which remaps ids", shutil.which("crun") is not None, "apt-get install crun")
        trial = partial(_try_remapping, paths, idmap)
        yield _tried(f"ids of containers are {ids} (userns_remap = {wanted!r})", trial, "")


def _try_remapping(paths: HostPaths, idmap: IdMap) -> None:
    """With the very functions that containers are made with, where nobody sees it."""
    uid, gid = idmap.outside(0, 0)
    with _beside(paths) as folder:
        unshare(CLONE_NEWNS)
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        for part in ("layers/one", "container"):
            Path(folder, part).mkdir(parents=True)
        pin = Path(folder, "userns")
        try:
            userns.ensure(pin, idmap)
            mount_rootfs(Path(folder, "layers"), ("one",), Path(folder, "container"), Owners(pin, uid, gid))
            unmount_rootfs(Path(folder, "container"))
        finally:
            userns.drop(pin)


@contextmanager
def _beside(paths: HostPaths) -> Iterator[str]:
    """A directory on the disk of the root."""
    place = next(path for path in (paths.lib, *paths.lib.parents) if path.exists())
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as folder:
        yield folder


def _tried(what: str, trial: Callable[[], object], hint: str, *, vital: bool = True) -> Need:
    try:
        in_thread(trial)
    except (RuntimeFault, OSError) as err:
        return Need(f"{what}: {err}", False, hint or getattr(err, "hint", ""), vital)
    return Need(what, True)


def _try_overlay(paths: HostPaths) -> None:
    """In a mount namespace of this thread, so that nobody sees it."""
    with _beside(paths) as folder:
        for part in ("lower", "upper", "work", "merged"):
            Path(folder, part).mkdir()
        unshare(CLONE_NEWNS)
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        mount("overlay", f"{folder}/merged", "overlay", 0, options)
        unmount(f"{folder}/merged")


def _link_trial(kind: str, words: dict[str, object]) -> Callable[[], None]:
    def trial() -> None:
        unshare(CLONE_NEWNET)
        with netlink(f"make a {kind}") as ip:
            ip.link("add", ifname="hecd-try0", kind=kind, **words)

    return trial
