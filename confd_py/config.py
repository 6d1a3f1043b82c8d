"""confd's settings: default < confd.toml < environment < flag. Pure but for `read_config_file`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from confd_py.errors import ConfigFault
from confd_py.flags import Flag, Value

STORES = ("etcd", "etcdv3", "env", "file")
_OTHER_STORES = ("consul", "dynamodb", "rancher", "redis", "ssm", "vault", "zookeeper", "acm", "secretsmanager")
LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "panic")


@dataclass(frozen=True)
class Config:
    """All settings, under the names of confd.toml with `-` written as `_`."""

    backend: str = "etcd"
    basic_auth: bool = False
    client_ca_keys: str = ""
    client_cert: str = ""
    client_key: str = ""
    client_insecure: bool = False
    confdir: str = "/etc/confd"
    file: tuple[str, ...] = ()
    filter: str = "*"
    interval: int = 600
    keep_stage_file: bool = False
    log_level: str = "info"
    node: tuple[str, ...] = ()
    noop: bool = False
    onetime: bool = False
    password: str = ""
    prefix: str = ""
    scheme: str = "http"
    separator: str = ""
    srv_domain: str = ""
    srv_record: str = ""
    sync_only: bool = False
    username: str = ""
    watch: bool = False


def _flags() -> dict[str, Flag]:
    helps = {
        "backend": "store to read: " + ", ".join(STORES),
        "basic_auth": "use username and password at etcd",
        "client_ca_keys": "file of the certificate authorities to trust",
        "client_cert": "file of the client certificate",
        "client_key": "file of the client's private key",
        "confdir": "directory of conf.d and templates",
        "file": "YAML or JSON file (file store; may be given again)",
        "filter": "file name pattern of the file store",
        "interval": "seconds between reads without -watch",
        "keep_stage_file": "keep staged files",
        "log_level": "how much is logged: " + ", ".join(LEVELS),
        "node": "address of a store node (may be given again)",
        "noop": "show what is pending, change nothing",
        "onetime": "run once and exit",
        "password": "password for the store",
        "prefix": "path in front of all keys",
        "scheme": "http or https",
        "sync_only": "write files without check_cmd and reload_cmd",
        "username": "user name for the store",
        "watch": "follow the store",
    }
    kinds: dict[type, Any] = {bool: "bool", int: "int", tuple: "list", str: "text"}
    table = {
        field.name.replace("_", "-"): Flag(kinds[type(field.default)], helps.get(field.name, "as in confd"))
        for field in fields(Config)
    }
    table["version"] = Flag("bool", "print the version and exit")
    table["config-file"] = Flag("text", "confd's configuration file (default /etc/confd/confd.toml)")
    for name in ("app-id", "auth-token", "auth-type", "path", "role-id", "secret-id", "table", "user-id"):
        table[name] = Flag("text", "as in confd; for stores that are not served")
    return table


FLAGS = _flags()


def read_config_file(path: str | None) -> Mapping[str, Any]:
    """The tables of confd.toml; a file that was not asked for by name may be absent. Raises ConfigFault."""
    place = Path(path or "/etc/confd/confd.toml")
    try:
        return tomllib.loads(place.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as err:
        raise ConfigFault(f"{place}: {err}", hint="It has to be TOML with confd's settings.") from err


def build(given: Mapping[str, Value], environ: Mapping[str, str], stored: Mapping[str, Any]) -> Config:
    """The settings from three places. Raises ConfigFault."""
    config = Config()
    for field in fields(Config):
        flag, variable = field.name.replace("_", "-"), f"CONFD_{field.name.upper()}"
        value: Any = None
        for source in (stored.get(field.name), stored.get(_FILE_NAMES.get(field.name, "")), environ.get(variable)):
            value = source if source not in (None, "") else value
        value = given.get(flag, value)
        if value is not None:
            config = replace(config, **{field.name: _convert(field.name, value, field.default)})
    return _checked(config)


_FILE_NAMES = {"node": "nodes", "client_ca_keys": "client_cakeys", "log_level": "log-level", "file": "files"}


def _convert(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ConfigFault(f"{name} has to be a list of strings, not {value!r}")
        return tuple(part for part in parts if part)
    if isinstance(default, bool):
        if str(value).lower() not in ("1", "t", "true", "0", "f", "false"):
            raise ConfigFault(f"{name} has to be true or false, not {value!r}")
        return str(value).lower() in ("1", "t", "true")
    if isinstance(default, int):
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ConfigFault(f"{name} has to be a whole number, not {value!r}") from None
    return str(value)


def _checked(config: Config) -> Config:
    if config.backend in _OTHER_STORES:
        raise ConfigFault(f"the store {config.backend} is not served", hint=f"Served are: {', '.join(STORES)}.")
    if config.backend not in STORES:
        raise ConfigFault(f"Invalid backend {config.backend!r}", hint=f"One of {', '.join(STORES)}.")
    if config.log_level.lower() not in LEVELS:
        raise ConfigFault(f"log-level {config.log_level!r} is not known", hint=f"One of {', '.join(LEVELS)}.")
    if config.backend == "file" and not config.file:
        raise ConfigFault("the file store needs -file")
    if config.watch and config.backend == "env":
        raise ConfigFault("the env store cannot be watched", hint="Leave out -watch.")
    if config.interval <= 0:
        raise ConfigFault(f"interval has to be more than 0, not {config.interval}")
    return config
