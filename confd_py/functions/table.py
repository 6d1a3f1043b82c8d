"""All functions of a template in one table: name, what runs, and its signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confd_py.functions import data, host, text
from confd_py.functions.data import JsonCache
from confd_py.functions.environment import getenv
from confd_py.functions.keys import KeyFunctions
from confd_py.gotemplate import builtins, clock
from confd_py.gotemplate.signature import BUILTIN_FUNCTIONS, Function, function
from confd_py.gotemplate.values import Strings
from confd_py.keyspace import KeySpace

_PLAIN: dict[str, tuple[Callable[..., Any], str]] = {
    "add": (lambda a, b: data.wrapped(a + b), "int int -> int"),
    "append": (lambda items, item: [*items, item], "list any -> list"),
    "atoi": (text.atoi, "string -> int"),
    "base": (text.base, "string -> string"),
    "base64Decode": (text.base64_decode, "string -> string"),
    "base64Encode": (text.base64_encode, "string -> string"),
    "camelcase": (text.camelcase, "string -> string"),
    "coalesce": (data.coalesce, "any... -> any"),
    "contains": (lambda whole, part: part in whole, "string string -> bool"),
    "datetime": (clock.now, "-> time"),
    "default": (lambda other, value: other if data.empty(value) else value, "any any -> any"),
    "dict": (data.mapping, "any... -> map"),
    "dir": (text.folder, "string -> string"),
    "div": (data.divide, "int int -> int"),
    "empty": (data.empty, "any -> bool"),
    "fileExists": (host.file_exists, "string -> bool"),
    "hasKey": (lambda items, key: key in items, "map string -> bool"),
    "hostname": (host.hostname, "-> string"),
    "indent": (text.indent, "int string -> string"),
    "join": (text.join, "strings string -> string"),
    "kebabcase": (text.kebabcase, "string -> string"),
    "keys": (lambda items: Strings(sorted(items)), "map -> strings"),
    "list": (lambda *items: list(items), "any... -> list"),
    "lookupIP": (host.lookup_ip, "string -> strings"),
    "lookupIPV4": (host.lookup_ipv4, "string -> strings"),
    "lookupIPV6": (host.lookup_ipv6, "string -> strings"),
    "lookupIfaceIPV4": (host.lookup_iface_ipv4, "string -> string"),
    "lookupIfaceIPV6": (host.lookup_iface_ipv6, "string -> string"),
    "lookupSRV": (host.lookup_srv, "string string string -> any"),
    "map": (data.mapping, "any... -> map"),
    "mod": (data.modulo, "int int -> int"),
    "mul": (lambda a, b: data.wrapped(a * b), "int int -> int"),
    "nindent": (lambda spaces, body: "\n" + text.indent(spaces, body), "int string -> string"),
    "nospace": (text.nospace, "string -> string"),
    "parseBool": (text.parse_bool, "string -> bool"),
    "pluck": (data.pluck, "string map... -> list"),
    "quote": (text.quoted, "string -> string"),
    "regexFind": (text.regex_find, "string string -> string"),
    "regexMatch": (text.regex_match, "string string -> bool"),
    "regexReplaceAll": (text.regex_replace_all, "string string string -> string"),
    "repeat": (text.repeat, "int string -> string"),
    "replace": (text.replace, "string string string int -> string"),
    "seq": (data.seq, "int int -> ints"),
    "sha256sum": (text.sha256sum, "string -> string"),
    "snakecase": (text.snakecase, "string -> string"),
    "sortByLength": (text.sort_by_length, "strings -> strings"),
    "sortKVByLength": (text.sort_kv_by_length, "kvs -> kvs"),
    "split": (text.split, "string string -> strings"),
    "squote": (text.squote, "string -> string"),
    "sub": (lambda a, b: data.wrapped(a - b), "int int -> int"),
    "ternary": (lambda yes, no, condition: yes if condition else no, "any any bool -> any"),
    "toJson": (data.to_json, "any -> string"),
    "toLower": (text.to_lower, "string -> string"),
    "toPrettyJson": (data.to_pretty_json, "any -> string"),
    "toUpper": (text.to_upper, "string -> string"),
    "trimPrefix": (str.removeprefix, "string string -> string"),
    "trimSuffix": (str.removesuffix, "string string -> string"),
    "values": (lambda items: [items[key] for key in sorted(items)], "map -> list"),
}
_KEYS = {
    "exists": "string -> bool",
    "get": "string -> kv",
    "gets": "string -> kvs",
    "getv": "string string... -> string",
    "getvs": "string -> strings",
    "ls": "string -> strings",
    "lsdir": "string -> strings",
}


def function_table(
    keys: KeySpace, environ: Mapping[str, str], json: JsonCache, *, as_go: bool, include: Callable[..., str]
) -> dict[str, Function]:
    """Every function by name. `as_go` gives those that Go templates know otherwise than Jinja2 ones."""
    own = KeyFunctions(keys)
    reverse = data.reverse_as_go if as_go else data.reverse
    named: dict[str, tuple[Callable[..., Any], str]] = {
        **_PLAIN,
        **{name: (getattr(own, name), signature) for name, signature in _KEYS.items()},
        "fromJson": (json.parse, "string -> any"),
        "getenv": (getenv(environ), "string string... -> string"),
        "include": (include, "string any... -> string"),
        "json": (json.object, "string -> map"),
        "jsonArray": (json.array, "string -> list"),
        "reverse": (reverse, "any -> any"),
    }
    return {**BUILTIN_FUNCTIONS, **{name: function(name, *rest) for name, rest in named.items()}}


def twin_functions() -> dict[str, Callable[..., Any]]:
    """What twins of Go templates call besides: Go's way where Jinja2's, or ours, is another."""
    json = JsonCache(data.parse_json_as_go)
    table: dict[str, tuple[Callable[..., Any], str]] = {
        "field": (builtins.field, "any string any... -> any"),
        "through": (builtins.through, "any string -> any"),
        "fromJson_as_go": (json.parse, "string -> any"),
        "json_as_go": (json.object, "string -> map"),
        "jsonArray_as_go": (json.array, "string -> list"),
        "reverse_as_go": (data.reverse_as_go, "any -> any"),
        "fail": (_fail, "string -> any"),
    }
    return {name: function(name, *rest) for name, rest in table.items()}


def _fail(fault: str) -> Any:
    raise builtins.GoError(fault)
