"""A template resource: one file in conf.d, in confd's TOML, and what HECD adds to it."""

from __future__ import annotations

import difflib
import grp
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from confd_py.errors import ResourceFault
from confd_py.keyspace import join_path
from confd_py.notation import LONGEST_S, TomlFault, line_of, parse_duration_s, parse_mode, parse_share, read_toml

FORMATS = ("plain", "haproxy", "nginx")
_FORMAT_OF = {"haproxy": "haproxy", "haproxy-map": "haproxy", "nginx": "nginx"}
APPLIERS = ("command", "haproxy", "haproxy-map", "haproxy-cert", "nginx")


@dataclass(frozen=True)
class Place:
    """Where one HAProxy is reached."""

    socket: str = "/run/haproxy/admin.sock"
    master_socket: str = ""  # empty: no reload from here, reload_cmd is run instead
    state_file: str = ""  # what `server-state-file` names; empty: a reload forgets which servers were down


_PLACE = tuple(f.name for f in fields(Place))


@dataclass(frozen=True)
class HaproxySettings:
    """`[template.haproxy]`: the running HAProxy, or several. Strings may name environment variables: `${X:-y}`."""

    places: tuple[Place, ...] = (Place(),)
    binary: str = "haproxy"
    check_interval_s: float = 10.0  # how often drift between file and process is looked for
    reload_timeout_s: float = 15.0
    removal_timeout_s: float = 300.0  # after that, streams of a removed server are cut
    crt_list: str = ""  # where HAProxy lists a certificate that is new to it; also a directory
    certificates: str = ""  # a directory of PEM files; copies of those that are good are kept in `crt_list`


@dataclass(frozen=True)
class NginxSettings:
    """`[template.nginx]`: the running nginx."""

    binary: str = "nginx"
    pid_file: str = "/run/nginx.pid"  # what `pid` names in the file
    status: str = "127.0.0.1:8405"  # where its workers tell which configuration they run
    error_log: str = "/var/log/nginx/error.log"  # what `error_log` names: there it says why it refused a reload
    check_interval_s: float = 10.0  # how often nginx is asked whether it still runs the file
    reload_timeout_s: float = 15.0
    old_generations: int = 3  # workers behind more reloads than this are ended, with the connections they have left


_LARGEST_ID = (1 << 32) - 2  # the one above means "as it is"


@dataclass(frozen=True)
class Resource:
    """`[template]` of one conf.d file. Paths are absolute; `keys` already carry `prefix`.

    `uid` and `gid` are -1 where the file shall keep what it has; `owner` and `group` are the names they came from.
    """

    name: str
    src: str
    dest: Path
    keys: tuple[str, ...] = ()
    prefix: str = "/"
    mode: int | None = None
    uid: int = -1
    gid: int = -1
    owner: str = ""
    group: str = ""
    check_cmd: str = ""
    reload_cmd: str = ""
    check_cmd_timeout_s: float = 30.0
    reload_cmd_timeout_s: float = 60.0
    min_reload_interval_s: float = 0.0
    apply: str = "command"
    format: str = "plain"
    debounce_s: float = 0.0  # a change waits this long for others
    guard_grace_s: float = 0.0
    min_servers: int = 0  # fewer than this many entries of a directory are never left by leases that expired
    max_shrink: float = 1.0  # share of a directory, 0..1, that leases may take away at once
    applied_file: Path = Path()
    haproxy: HaproxySettings = field(default_factory=HaproxySettings)
    nginx: NginxSettings = field(default_factory=NginxSettings)
    src_at: str = field(default="", compare=False)  # file and line of `src`
    warnings: tuple[str, ...] = ()  # to be told once, with file and line


def parse_resource(path: str, text: str, *, prefix: str, expand: Callable[[str], str]) -> Resource:
    """The resource in `text`; a `prefix` replaces the resource's own, `expand` replaces `${VARIABLE:-default}`.

    Raises ResourceFault. Keys are matched without case, unknown ones are left alone, both as confd does.
    """
    try:
        table = _lower(read_toml(text))
    except TomlFault as err:
        raise ResourceFault(path, f"this is not TOML: {err}", line=err.line, column=err.column) from err
    template = table.get("template")
    if not isinstance(template, dict):
        raise ResourceFault(path, "there is no [template] table", line=1)
    reader = _Reader(path, text, template, expand)
    if "backend" in table:
        fault = "a resource with a [backend] of its own is not served: it would be rendered from the other store"
        raise reader.fault("backend", fault, "Start a second confd-py for that store, with a confdir of its own.")
    return reader.resource(prefix)


class _Reader:
    """Takes typed values out of a TOML table, naming the file, the line and the key when one does not fit."""

    def __init__(self, path: str, text: str, table: Mapping[str, Any], expand: Callable[[str], str]) -> None:
        self._path = path
        self._text = text
        self._table = table
        self._expand = expand
        self._warnings: list[str] = []

    def resource(self, prefix: str) -> Resource:
        apply = self.one_of("apply", APPLIERS)
        balancer_file = apply in ("haproxy", "nginx")
        certificate = apply == "haproxy-cert"
        self.warn_of_unknown({f.name.removesuffix("_s") for f in fields(Resource)} - {"name", "src_at", "warnings"})
        own_prefix = join_path(prefix or self.text("prefix"))
        dest = Path(self.text("dest"))
        for key in ("src", "dest"):
            if not self.text(key):
                raise self.fault(key, f"{key} is needed")
        if self.text("applied_file") and Path(self.text("applied_file")) == dest:
            raise self.fault("applied_file", "applied_file has to be another file than dest")
        return Resource(
            name=Path(self._path).name.removesuffix(".toml"),
            src=self.text("src"),
            src_at=f"{self._path}:{line_of(self._text, 'src')}",
            dest=dest,
            keys=tuple(join_path(own_prefix, key) for key in self.texts("keys")),
            prefix=own_prefix,
            mode=0o600 if certificate and not self._table.get("mode") else self.mode(),  # it holds the key
            uid=self.identity("uid", "owner", lambda name: pwd.getpwnam(name).pw_uid),
            gid=self.identity("gid", "group", lambda name: grp.getgrnam(name).gr_gid),
            owner=self.text("owner"),
            group=self.text("group"),
            check_cmd=self.command("check_cmd"),
            reload_cmd=self.command("reload_cmd"),
            check_cmd_timeout_s=self.seconds("check_cmd_timeout", 30.0) or float("inf"),  # 0: none, as in confd's fork
            reload_cmd_timeout_s=self.seconds("reload_cmd_timeout", 60.0) or float("inf"),
            min_reload_interval_s=self.seconds("min_reload_interval", 0.0),
            apply=apply,
            format=self.one_of("format", FORMATS, _FORMAT_OF.get(apply, "plain")),
            debounce_s=self.seconds("debounce", 0.0),
            guard_grace_s=self.seconds("guard_grace", 60.0 if balancer_file else 0.0),
            min_servers=self.count("min_servers"),
            max_shrink=self.share("max_shrink"),
            # HAProxy takes every file in a directory of certificates for one, but for those with a dot in front.
            applied_file=Path(self.text("applied_file") or dest.parent / f"{'.' * certificate}{dest.name}.applied"),
            haproxy=self.haproxy(),
            nginx=self.nginx(),
            warnings=tuple(self._warnings),
        )

    def fault(self, key: str, what: str, hint: str = "") -> ResourceFault:
        return ResourceFault(self._path, what, line=line_of(self._text, key), hint=hint)

    def warn_of_unknown(self, known: set[str]) -> None:
        """confd passes them over in silence, and so a misspelt reload_cmd."""
        for key in self._table.keys() - known:
            near = difflib.get_close_matches(key, known, 1)
            told = f"{key} is not known and passed over" + (f"; is {near[0]} meant?" if near else "")
            self._warnings.append(f"{self._path}:{line_of(self._text, key)}: {told}")

    def haproxy(self) -> HaproxySettings:
        inner = self.table("haproxy", {f.name for f in fields(HaproxySettings)} - {"places"} | set(_PLACE))
        values: dict[str, Any] = {}
        for name in inner._table.keys() - set(_PLACE):
            values[name] = inner.seconds(name, 0.0) if name.endswith("_s") else inner.text(name)
        if values.get("certificates") and not values.get("crt_list"):
            raise self.fault("certificates", "certificates needs crt_list: the directory that `crt` names")
        return HaproxySettings(places=inner.places(), **values)

    def nginx(self) -> NginxSettings:
        inner = self.table("nginx", {f.name for f in fields(NginxSettings)})
        values: dict[str, Any] = {}
        for name in inner._table:
            if name == "old_generations":
                values[name] = inner.count(name)
            else:
                values[name] = inner.seconds(name, 0.0) if name.endswith("_s") else inner.text(name)
        settings = NginxSettings(**values)
        host, _, port = settings.status.rpartition(":")
        if not host or not port.isdigit():
            raise self.fault("status", f"status has to be an address like 127.0.0.1:8405, not {settings.status!r}")
        return settings

    def table(self, name: str, known: set[str]) -> _Reader:
        """`[template.<name>]`; its durations are known by their names with `_s`."""
        table = self._table.get(name, {})
        if not isinstance(table, dict):
            raise self.fault(name, f"template.{name} has to be a table")
        named = {key if key in known else f"{key}_s": value for key, value in table.items()}
        unknown = sorted(named.keys() - known)
        if unknown:
            key = unknown[0].removesuffix("_s")
            raise self.fault(key, f"template.{name}.{key} is not known")
        return _Reader(self._path, self._text, named, self._expand)

    def places(self) -> tuple[Place, ...]:
        """One string for one HAProxy, or lists of equal length for several."""
        lists = {name: self.listed(name) for name in _PLACE if name in self._table}
        count = len(lists.get("socket", ("",)))
        for name, values in lists.items():
            if not values or len(values) != count:
                raise self.fault(name, f"{name} has to name one for each socket, and there are {count}")
            if name != "master_socket" and len(set(values)) < len(values):
                raise self.fault(name, f"{name} names one of them twice")
        return tuple(Place(**{name: values[index] for name, values in lists.items()}) for index in range(count))

    def listed(self, key: str) -> tuple[str, ...]:
        return self.texts(key) if isinstance(self._table[key], list) else (self.text(key),)

    def text(self, key: str) -> str:
        value = self._table.get(key, "")
        if not isinstance(value, str):
            raise self.fault(key, f"{key} has to be a string, not {value!r}")
        return self._expand(value)

    def command(self, key: str) -> str:
        """As it stands: its variables are the shell's, which has ours as well."""
        self.text(key)
        return str(self._table.get(key, ""))

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(key, f"{key} has to be a list of strings, not {value!r}")
        return tuple(self._expand(item) for item in value)

    def number(self, key: str, default: int) -> int:
        value = self._table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(key, f"{key} has to be a whole number, not {value!r}")
        return value

    def count(self, key: str) -> int:
        if (value := self.number(key, 0)) < 0:
            raise self.fault(key, f"{key} has to be 0 or more, not {value}")
        return value

    def identity(self, key: str, name_key: str, look_up: Callable[[str], int]) -> int:
        """A uid or gid: the number if it is given, else that of the name; -1 for neither."""
        number, name = self.number(key, -1), self.text(name_key)
        number = int(name) if number == -1 and name.isdecimal() else number
        if not -1 <= number <= _LARGEST_ID:
            raise self.fault(key, f"{key} has to be from 0 to {_LARGEST_ID}, not {number}")
        if number != -1 or not name:
            return number
        try:
            return look_up(name)
        except KeyError:
            hint = f"Create it, or give {key} as a number."
            raise self.fault(name_key, f"{name_key} {name!r} is not known on this host", hint) from None

    def share(self, key: str) -> float:
        """0..1, written as such or in percent."""
        value = self._table.get(key, 1.0)
        share = parse_share(self._expand(value) if isinstance(value, str) else value)
        if share is None:
            raise self.fault(key, f'{key} has to be a share like 0.5 or "50%", not {value!r}')
        return share

    def one_of(self, key: str, choices: tuple[str, ...], default: str = "") -> str:
        value = self.text(key) or default or choices[0]
        if value not in choices:
            raise self.fault(key, f"{key} has to be one of {', '.join(choices)}, not {value!r}")
        return value

    def seconds(self, key: str, default: float) -> float:
        value = self._table.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_S:
            return float(value)
        parsed = parse_duration_s(self._expand(value)) if isinstance(value, str) else None
        if parsed is None:
            shown = key.removesuffix("_s")
            raise self.fault(shown, f"{shown} has to be seconds or a duration like 1m30s, not {value!r}")
        return parsed

    def mode(self) -> int | None:
        """confd reads "644" as decimal; everybody who writes it means octal."""
        text = self.text("mode")
        if not text:
            return None
        found = parse_mode(text)
        if found is None:
            raise self.fault("mode", f'mode has to be octal like "0644", not {text!r}')
        mode, surprise = found
        if surprise:
            told = f'mode = "{text}" is read as {mode:04o}; {surprise}. Write "{mode:04o}".'
            self._warnings.append(f"{self._path}:{line_of(self._text, 'mode')}: {told}")
        return mode


def _lower(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): _lower(value) if isinstance(value, dict) else value for key, value in table.items()}
