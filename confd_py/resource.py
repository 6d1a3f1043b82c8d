"""A template resource: one file in conf.d, in confd's TOML, and what HECD adds to it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from confd_py.errors import ResourceFault
from confd_py.keyspace import join_path

FORMATS = ("plain", "haproxy", "nginx")
APPLIERS = ("command", "haproxy")


@dataclass(frozen=True)
class HaproxySettings:
    """`[template.haproxy]`: where the running HAProxy is reached. Strings may name environment variables: `${X:-y}`."""

    socket: str = "/run/haproxy/admin.sock"
    master_socket: str = ""  # empty: no reload from here, reload_cmd is run instead
    state_file: str = ""  # what `server-state-file` names; empty: a reload forgets which servers were down
    binary: str = "haproxy"
    check_interval_s: float = 10.0  # how often drift between file and process is looked for
    reload_timeout_s: float = 15.0
    removal_timeout_s: float = 300.0  # after that, streams of a removed server are cut


@dataclass(frozen=True)
class Resource:
    """`[template]` of one conf.d file. Paths are absolute; `keys` and `prefix` already carry the global prefix."""

    name: str
    src: str
    dest: Path
    keys: tuple[str, ...] = ()
    prefix: str = "/"
    mode: int | None = None
    uid: int = -1
    gid: int = -1
    check_cmd: str = ""
    reload_cmd: str = ""
    check_cmd_timeout_s: float = 30.0
    reload_cmd_timeout_s: float = 60.0
    min_reload_interval_s: float = 0.0
    apply: str = "command"
    format: str = "plain"
    guard_grace_s: float = 0.0
    applied_file: Path = Path()
    haproxy: HaproxySettings = field(default_factory=HaproxySettings)


def parse_resource(path: str, text: str, *, prefix: str, expand: Callable[[str], str]) -> Resource:
    """The resource in `text`; `prefix` is the global one, `expand` replaces `${VARIABLE:-default}`.

    Raises ResourceFault. Keys are matched without case, unknown ones are left alone, both as confd does.
    """
    try:
        table = _lower(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise ResourceFault(path, f"this is not TOML: {err}") from err
    template = table.get("template")
    if not isinstance(template, dict):
        raise ResourceFault(path, "there is no [template] table")
    return _Reader(path, template, expand).resource(prefix)


class _Reader:
    """Takes typed values out of a TOML table, naming the file and the key when one does not fit."""

    def __init__(self, path: str, table: Mapping[str, Any], expand: Callable[[str], str]) -> None:
        self._path = path
        self._table = table
        self._expand = expand

    def resource(self, prefix: str) -> Resource:
        apply = self.one_of("apply", APPLIERS)
        haproxy_file = apply == "haproxy"
        own_prefix = join_path(prefix, self.text("prefix"))
        dest = Path(self.text("dest"))
        if not self.text("dest") or not self.text("src"):
            raise ResourceFault(self._path, "src and dest are needed")
        return Resource(
            name=Path(self._path).name.removesuffix(".toml"),
            src=self.text("src"),
            dest=dest,
            keys=tuple(join_path(own_prefix, key) for key in self.texts("keys")),
            prefix=own_prefix,
            mode=self.mode(),
            uid=self.number("uid", -1),
            gid=self.number("gid", -1),
            check_cmd=self.text("check_cmd"),
            reload_cmd=self.text("reload_cmd"),
            check_cmd_timeout_s=self.seconds("check_cmd_timeout", 30.0),
            reload_cmd_timeout_s=self.seconds("reload_cmd_timeout", 60.0),
            min_reload_interval_s=self.seconds("min_reload_interval", 0.0),
            apply=apply,
            format=self.one_of("format", FORMATS, "haproxy" if haproxy_file else "plain"),
            guard_grace_s=self.seconds("guard_grace", 60.0 if haproxy_file else 0.0),
            applied_file=Path(self.text("applied_file") or f"{dest}.applied"),
            haproxy=self.haproxy(),
        )

    def haproxy(self) -> HaproxySettings:
        table = self._table.get("haproxy", {})
        if not isinstance(table, dict):
            raise ResourceFault(self._path, "template.haproxy has to be a table")
        known = {f.name: f for f in fields(HaproxySettings)}
        inner = _Reader(self._path, {k if k in known else f"{k}_s": v for k, v in table.items()}, self._expand)
        unknown = sorted(inner._table.keys() - known.keys())
        if unknown:
            raise ResourceFault(self._path, f"template.haproxy.{unknown[0].removesuffix('_s')} is not known")
        values: dict[str, Any] = {}
        for name in inner._table:
            values[name] = inner.seconds(name, 0.0) if name.endswith("_s") else inner.text(name)
        return HaproxySettings(**values)

    def text(self, key: str) -> str:
        value = self._table.get(key, "")
        if not isinstance(value, str):
            raise ResourceFault(self._path, f"{key} has to be a string, not {value!r}")
        return self._expand(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ResourceFault(self._path, f"{key} has to be a list of strings, not {value!r}")
        return tuple(self._expand(item) for item in value)

    def number(self, key: str, default: int) -> int:
        value = self._table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ResourceFault(self._path, f"{key} has to be a whole number, not {value!r}")
        return value

    def one_of(self, key: str, choices: tuple[str, ...], default: str = "") -> str:
        value = self.text(key) or default or choices[0]
        if value not in choices:
            raise ResourceFault(self._path, f"{key} has to be one of {', '.join(choices)}, not {value!r}")
        return value

    def seconds(self, key: str, default: float) -> float:
        value = self._table.get(key, default)
        if isinstance(value, bool):
            raise ResourceFault(self._path, f"{key} has to be seconds, not {value!r}")
        if isinstance(value, int | float) and value >= 0:
            return float(value)
        parsed = parse_duration_s(self._expand(value)) if isinstance(value, str) else None
        if parsed is None:
            raise ResourceFault(self._path, f"{key} has to be seconds or a duration like 1m30s, not {value!r}")
        return parsed

    def mode(self) -> int | None:
        """confd reads "644" as decimal; everybody who writes it means octal."""
        value = self._table.get("mode")
        if value is None or value == "":
            return None
        try:
            mode = int(str(value), 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o7777:
            raise ResourceFault(self._path, f"mode has to be octal like 0644, not {value!r}")
        return mode


_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float | None:
    """Seconds of a Go duration such as "1m30s" or "250ms", or of a plain number; None when it is neither."""
    total, rest = 0.0, text.strip()
    try:
        return float(rest) if float(rest) >= 0 else None
    except ValueError:
        pass
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("hms"))
        unit = rest[digits : digits + letters]
        if not digits or unit not in _UNITS_S or rest[:digits].count(".") > 1:
            return None
        total += float(rest[:digits]) * _UNITS_S[unit]
        rest = rest[digits + letters :]
    return total if text.strip() else None


def _lower(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): _lower(value) if isinstance(value, dict) else value for key, value in table.items()}
