"""What a service asks of the kernel and of its surroundings: capabilities, limits, names, files in memory, its log."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from registrator.model.release import Device, LogLimits, MemoryFile, Ulimit, Wishes
from registrator.spec.environment import pairs
from registrator.spec.field import Field
from registrator.spec.mounts import source_of, target_of

_CAPABILITY = re.compile(r"ALL|(CAP_)?[A-Z][A-Z0-9_]{2,30}")
_DEVICE = re.compile(r"/dev/[a-zA-Z0-9][a-zA-Z0-9_./+-]{0,250}")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,253}")
_SYSCTL = re.compile(r"(net\.[a-z0-9_]|fs\.mqueue\.|kernel\.(msg|shm))[a-zA-Z0-9_./-]*|kernel\.sem")
_MODE = re.compile(r"(0o?)?[0-7]{1,3}")
_ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)


def wishes_of(service: Field, top: Field, base_dir: Path, variables: Mapping[str, str]) -> Wishes:
    """The wishes of the service at `service`; `top` is the whole file, whose secrets and configs it names."""
    no_gain, seccomp = _security(service["security_opt"], base_dir, variables)
    return Wishes(
        ulimits=tuple(_ulimits(service["ulimits"])),
        sysctls=dict(_sysctls(service["sysctls"])),
        group_add=_words(service["group_add"], _GROUP, "the name or the number of a group"),
        extra_hosts=dict(_hosts(service["extra_hosts"])),
        dns=tuple(_addresses(service["dns"])),
        dns_search=_words(service["dns_search"], _WORD, "a domain"),
        dns_options=_words(service["dns_opt"], _WORD, "an option of resolv.conf"),
        files=tuple(_files(service, top, base_dir, variables)),
        cap_add=_words(service["cap_add"], _CAPABILITY, "a capability, such as NET_ADMIN"),
        cap_drop=_words(service["cap_drop"], _CAPABILITY, "a capability, such as NET_RAW, or ALL"),
        devices=tuple(_devices(service["devices"])),
        no_new_privileges=no_gain,
        seccomp=seccomp,
        userns=service["userns_mode"].text(),
        tty=service["tty"].truth(),
        stdin_open=service["stdin_open"].truth(),
        log=_log(service["logging"]["options"]),
    )


def _words(places: Field, pattern: re.Pattern[str], wanted: str) -> tuple[str, ...]:
    return tuple(place.matching(pattern, wanted) for place in places.items())


def _ulimits(places: Field) -> Iterator[Ulimit]:
    for name, place in places.named():
        if name not in _ULIMITS:
            place.fault(f"{name[:20]!r} is no limit; known: {', '.join(_ULIMITS)}")
            continue
        whole = not isinstance(place.value, dict)
        if not whole and None in (place["soft"].value, place["hard"].value):
            continue  # the schema has said it
        soft = (place if whole else place["soft"]).whole(least=-1, most=1 << 62)
        hard = (place if whole else place["hard"]).whole(least=-1, most=1 << 62)
        if hard != -1 and (soft == -1 or soft > hard):
            place.fault("soft is above hard")
        yield Ulimit(name, soft, hard)


def _sysctls(places: Field) -> Iterator[tuple[str, str]]:
    for place, name, value in pairs(places):
        if not _SYSCTL.fullmatch(name) or ".." in name:
            place.fault(f"{name[:60]!r} is not a container's own: net.*, fs.mqueue.*, kernel.msg*, .sem and .shm* are")
        elif not value or not value.isprintable():
            place.fault("needs a value")
        else:
            yield name, value


def _hosts(places: Field) -> Iterator[tuple[str, str]]:
    """A mapping, or a list of NAME:ADDRESS or NAME=ADDRESS."""
    listed = [] if isinstance(places.value, dict) else list(places.items())
    found = [(place, name, place.text()) for name, place in places.named()]
    found += [(place, *re.split("[:=]", place.text() + ":", maxsplit=1)) for place in listed]  # type: ignore[misc]
    for place, name, address in found:
        address = address.rstrip(":").strip("[]") if place in listed else address.strip("[]")
        if not _HOST.fullmatch(name):
            place.fault(f"{name[:60]!r} is no host name")
        elif address != "host-gateway" and not _is_address(address):
            place.fault(f"{address[:60]!r} is no address: write one, or host-gateway")
        else:
            yield name, address


def _addresses(places: Field) -> Iterator[str]:
    for place in places.items():
        if _is_address(place.text()):
            yield place.text()
        else:
            place.fault("must be the address of a name server")


def _files(service: Field, top: Field, base_dir: Path, variables: Mapping[str, str]) -> Iterator[MemoryFile]:
    for kind, usual in (("secrets", "/run/secrets"), ("configs", "/")):
        for place in service[kind].items():
            long = isinstance(place.value, dict)
            if long and place["source"].value is None:
                continue  # the schema has said it
            name = place["source"].text() if long else place.text()
            given = top[kind][name]
            if given.value is None:
                place.fault(f"there is no {name[:60]!r} among the {kind} of this file")
                continue
            wanted = place["target"].text() if long else ""
            target = str(Path(usual, wanted or name))
            content = given["content"].text() if given["content"].value is not None else None
            source = source_of(given["file"], given["file"].text(), base_dir, variables) if content is None else ""
            if content is None and given["file"].value is None and (*given.path, "file") not in given.findings.broken:
                given.fault("needs a file" if kind == "secrets" else "needs a file or a content")
            yield MemoryFile(target_of(place, target), source, content, *_owner(place if long else None))


def _owner(place: Field | None) -> tuple[int, int, int]:
    """Mode, user and group."""
    if place is None:
        return 0o444, 0, 0
    return _mode(place["mode"]), place["uid"].whole(), place["gid"].whole()


def _mode(place: Field) -> int:
    """In YAML, 0o440 is a number already; 0440 and "0440" are texts."""
    if isinstance(place.value, int):
        return place.value
    return int(place.matching(_MODE, 'octal, such as "0440"', "444").removeprefix("0o"), 8)


def _devices(places: Field) -> Iterator[Device]:
    """PATH[:TARGET[:ACCESS]], or a mapping of source, target and permissions."""
    for place in places.items():
        long = isinstance(place.value, dict)
        if long and place["source"].value is None:
            continue  # the schema has said it
        words = [place[key].text() for key in ("source", "target", "permissions")] if long else place.text().split(":")
        path, target, access = [*words, "", ""][:3]
        if len(words) > 3 or not all(_DEVICE.fullmatch(p) and ".." not in p for p in (path, target or path)):
            place.fault("must be PATH[:TARGET[:rwm]], with paths below /dev")
        elif not set(access) <= set("rwm"):
            place.fault(f"the access {access[:20]!r} is not known; r, w and m are")
        else:
            yield Device(path, target, access or "rwm")


def _security(places: Field, base_dir: Path, variables: Mapping[str, str]) -> tuple[bool, str]:
    """Whether processes may gain no privileges, and their seccomp profile: a file of the node, or "unconfined"."""
    no_gain, seccomp = True, ""
    for place in places.items():
        key, value, *_ = [*re.split("[:=]", place.text(), maxsplit=1), ""]
        if key == "no-new-privileges" and value in ("", "true", "false"):
            no_gain = value != "false"
        elif key == "seccomp" and value:
            path = value if value[0] in "/.~" else f"./{value}"  # as in Compose, a bare word is a file
            seccomp = value if value == "unconfined" else source_of(place, path, base_dir, variables)
        else:
            place.fault("no-new-privileges:true and :false, seccomp:FILE and seccomp:unconfined are served")
    return no_gain, seccomp


def _log(options: Field) -> LogLimits:
    usual = LogLimits()
    size = options["max-size"].size_bytes(usual.max_size_bytes)
    if size < 4096:
        options["max-size"].fault("must be 4k or more")
    return LogLimits(size, options["max-file"].whole(usual.max_files, least=1, most=1000))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
