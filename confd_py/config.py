"""confd's settings: default < confd.toml < environment < flag. Pure but for `read_config_file`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from confd_py.errors import ConfigFault
from confd_py.flags import Flag, Kind, Value
from confd_py.notation import TomlFault, line_of, parse_go_bool, parse_go_int, read_toml

STORES = ("etcd", "etcdv3", "env", "file", "redis")
_OTHER_STORES = ("acm", "consul", "dynamodb", "imds", "rancher", "secretsmanager", "ssm", "vault", "zookeeper")
LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "panic")
DEFAULT_CONFIG_FILE = "/etc/confd/confd.toml"
_KINDS: dict[type, Kind] = {bool: "bool", int: "int", tuple: "list", str: "text"}
_UNSERVED = "as in confd; for stores that are not served"


def _setting(default: Any, what: str, *, key: str = "", variable: str = "") -> Any:
    """A field of Config: `what` is its help, `key` its name in confd.toml, `variable` a second CONFD_ variable."""
    return field(default=default, metadata={"help": what, "key": key, "variable": variable})


@dataclass(frozen=True)
class Config:
    """All settings, under the names of the flags with `-` written as `_`."""

    app_id: str = _setting("", _UNSERVED)
    auth_token: str = _setting("", _UNSERVED)
    auth_type: str = _setting("", _UNSERVED)
    backend: str = _setting("etcd", "store to read: " + ", ".join(STORES))
    basic_auth: bool = _setting(False, "use username and password at etcd")
    client_ca_keys: str = _setting(
        "", "file of the certificate authorities to trust", key="client_cakeys", variable="CONFD_CLIENT_CAKEYS"
    )
    client_cert: str = _setting("", "file of the client certificate")
    client_insecure: bool = _setting(False, "do not verify the store's certificate")
    client_key: str = _setting("", "file of the client's private key")
    confdir: str = _setting("/etc/confd", "directory of conf.d and templates")
    file: tuple[str, ...] = _setting((), "YAML or JSON file or directory of the file store (may be given again)")
    filter: str = _setting("*", "which files of a directory the file store reads")
    interval: int = _setting(600, "seconds between reads without -watch")
    keep_stage_file: bool = _setting(False, "keep staged files", key="keepstagefile")
    log_level: str = _setting("", "how much is logged: " + ", ".join(LEVELS), key="log-level")
    metrics_listen: str = _setting("", "loopback address:port for /metrics and /health (default: none)")
    mock: str = _setting("", "YAML or JSON file that `check` and `diff` read in place of the store")
    node: tuple[str, ...] = _setting(
        (), "address of a store node (may be given again)", key="nodes", variable="CONFD_NODES"
    )
    noop: bool = _setting(False, "show what is pending, change nothing")
    onetime: bool = _setting(False, "run once and exit")
    password: str = _setting("", "password for the store")
    path: str = _setting("", _UNSERVED)
    prefix: str = _setting("", "path in front of all keys; takes the place of the resources' own")
    role_id: str = _setting("", _UNSERVED)
    scheme: str = _setting("http", "http or https, for nodes that do not say it")
    secret_id: str = _setting("", _UNSERVED)
    secret_keyring: str = _setting("", "as in confd; the functions that need it are not served")
    separator: str = _setting("", "what stands for / in the keys of redis")
    srv_domain: str = _setting("", "domain whose SRV record names the nodes")
    srv_record: str = _setting("", "SRV record that names the nodes")
    status_socket: str = _setting("", "Unix socket for `confd-py status` (default: one for each confdir)")
    sync_only: bool = _setting(False, "write files without check_cmd and reload_cmd", key="sync-only")
    table: str = _setting("", _UNSERVED)
    user_id: str = _setting("", _UNSERVED)
    username: str = _setting("", "user name for the store")
    watch: bool = _setting(False, "follow the store")


def _flags() -> dict[str, Flag]:
    table = {_flag_name(f): Flag(_kind(f), f.metadata["help"]) for f in fields(Config)}
    table["version"] = Flag("bool", "print the version and exit")
    table["config-file"] = Flag("text", f"confd's configuration file (default {DEFAULT_CONFIG_FILE})")
    return table


def _flag_name(setting: Field[Any]) -> str:
    return setting.name.replace("_", "-")


def _kind(setting: Field[Any]) -> Kind:
    return _KINDS[type(setting.default)]


FLAGS = _flags()


def read_config_file(path: str | None) -> Mapping[str, Any]:
    """What confd.toml says, under the names of Config; a file that is not there says nothing. Raises ConfigFault."""
    place = Path(path or DEFAULT_CONFIG_FILE)
    try:
        text = place.read_text()
        stored = {key.lower(): value for key, value in read_toml(text).items()}
    except FileNotFoundError:
        return {}
    except TomlFault as err:
        raise ConfigFault(f"{place}:{err.line}:{err.column}: this is not TOML: {err}") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigFault(f"{place}: cannot be read: {getattr(err, 'strerror', None) or err}") from err
    found = {}
    for setting in fields(Config):
        for key in (_flag_name(setting), setting.metadata["key"] or setting.name):
            if key in stored:
                found[setting.name] = _typed(f"{place}:{line_of(text, key)}: {key}", setting, stored[key])
    return found


def build(given: Mapping[str, Value], environ: Mapping[str, str], stored: Mapping[str, Any]) -> Config:
    """The settings from three places. Raises ConfigFault."""
    values: dict[str, Any] = dict(stored)
    for setting in fields(Config):
        for variable in (setting.metadata["variable"], f"CONFD_{setting.name.upper()}"):
            if environ.get(variable):
                values[setting.name] = _from_text(variable, setting, environ[variable])
        flag = given.get(_flag_name(setting))
        if flag is not None:
            values[setting.name] = tuple(flag) if isinstance(flag, list) else flag
    return _checked(Config(**values))


def _typed(place: str, setting: Field[Any], value: Any) -> Any:
    """A TOML value must have the setting's own type, as in confd."""
    kind = _kind(setting)
    if kind == "list" and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    if kind != "list" and type(value) is type(setting.default):
        return value
    words = {"text": "a string", "bool": "true or false", "int": "a whole number", "list": "a list of strings"}
    raise ConfigFault(f"{place} has to be {words[kind]}, not {value!r}")


def _from_text(variable: str, setting: Field[Any], text: str) -> Any:
    if (kind := _kind(setting)) == "list":
        return tuple(part for part in text.split(",") if part)
    if kind == "text":
        return text
    value = parse_go_bool(text) if kind == "bool" else parse_go_int(text)
    if value is None:
        raise ConfigFault(
            f"{variable} has to be {'true or false' if kind == 'bool' else 'a whole number'}, not {text!r}"
        )
    return value


def _checked(config: Config) -> Config:
    served = f"Served are: {', '.join(STORES)}."
    if config.backend in _OTHER_STORES:
        raise ConfigFault(f"the store {config.backend} is not served", hint=served)
    if config.backend not in STORES:
        raise ConfigFault(f"Invalid backend {config.backend!r}", hint=served)
    if config.log_level.lower() not in (*LEVELS, ""):
        raise ConfigFault(f"log-level {config.log_level!r} is not known", hint=f"One of {', '.join(LEVELS)}.")
    if config.secret_keyring:
        raise ConfigFault(
            "secret-keyring is not served", hint="Decrypt the values elsewhere: there is no cget, cgets, cgetv, cgetvs."
        )
    if config.interval <= 0 and not config.onetime and not config.watch:
        raise ConfigFault(f"interval has to be more than 0, not {config.interval}")
    return config
