"""What is wrong with a value, as a person would say it."""

import difflib
import re
from typing import Any, get_args

import msgspec

from etl.config.sections import (
    AlertConfig,
    Config,
    Credential,
    DatabaseConfig,
    DiscoveryConfig,
    EntraConfig,
    Event,
    ExportConfig,
    ExportFormat,
    Kind,
    MetricsConfig,
    PrivacyConfig,
    ScheduleConfig,
    SourceConfig,
    SyncConfig,
    Treatment,
)


def explain(said: str, tables: dict[str, Any]) -> str:
    """Say what msgspec says, with the key's name and what was found there."""
    said, _, place = said.partition(" - at `$")
    key = place.rstrip("`").removeprefix(".")
    if key.endswith("[...]"):  # msgspec does not tell which key of a table it means
        key, value = _bad_entry(key[:-5], tables)
        return _explain_value(key, value, said)
    if unknown := re.search(r"unknown field `(.*)`", said):
        return _explain_unknown(key, unknown.group(1))
    if missing := re.search(r"missing required field `(.*)`", said):
        return f"{key} has no {missing.group(1)}; add it."
    return _explain_value(key, _value_at(tables, key), said)


def _explain_value(key: str, value: Any, said: str) -> str:
    found = _shown(key, value)
    expected = said.replace("`", "").replace("Expected ", "").partition(", got")[0]
    return f"{key} is {found}, expected {_in_words(key, expected.removesuffix(' | null'))}."


def _bad_entry(table: str, tables: dict[str, Any]) -> tuple[str, Any]:
    """The first entry that is wrong in a table whose keys are the user's own."""
    is_good = _is_text if table.endswith(".models") else _is_treatment
    entries: dict[str, Any] = _value_at(tables, table)
    return next(
        (f"{table}.{key}", each) for key, each in entries.items() if not is_good(each)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_treatment(value: Any) -> bool:
    return value in get_args(Treatment)


def _shown(key: str, value: Any) -> str:
    """A value for a message, unless a password or an API key may stand in it."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() if SECRETIVE.search(key) or "@" in value or "?" in value:
            return "not shown, it may be a secret"
        case _:
            return repr(value)


SECRETIVE = re.compile(
    r"(^database\.url|_env|^sources(\[\d+\])?|^alerts(\[\d+\])?|^exports(\[\d+\])?\.catalog.*)\Z"
)
"""Keys at which people put secrets, rightly or by mistake."""


def _explain_unknown(place: str, name: str) -> str:
    key = f"{place}.{name}" if place else name
    known = [field.name for field in msgspec.structs.fields(_struct_at(place))]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}."
    return f"{key} is not a key of runtide; {hint}"


def _struct_at(place: str) -> type[msgspec.Struct]:
    sections: dict[str, type[msgspec.Struct]] = {
        "database": DatabaseConfig,
        "sources": SourceConfig,
        "sources.entra": EntraConfig,
        "sources.discovery": DiscoveryConfig,
        "sources.privacy": PrivacyConfig,
        "sync": SyncConfig,
        "schedule": ScheduleConfig,
        "metrics": MetricsConfig,
        "alerts": AlertConfig,
        "exports": ExportConfig,
    }
    return sections.get(re.sub(r"\[\d+\]", "", place), Config)


def _value_at(tables: Any, key: str) -> Any:
    for name, index in re.findall(r"([\w-]+)|\[(\d+)\]", key):
        tables = tables[name] if name else tables[int(index)]
    return tables


A_SPAN = "a number of seconds, minutes, hours, days or weeks such as 90s, 5m or 12h"

IN_WORDS = {
    r"str matching regex '^[A-Za-z0-9_.-]{1,64}\\Z'": (
        "1 to 64 letters, digits, dots, dashes or underscores"
    ),
    r"str matching regex '^[A-Za-z_][A-Za-z0-9_]*\\Z'": (
        "the name of an environment variable, never the secret itself"
    ),
    r"str matching regex '^[A-Za-z0-9.-]{1,40}\\Z'": (
        "letters, digits, dots and dashes such as v1 or 2025-05-01"
    ),
    r"str matching regex '^https?://[^\\s/@?\\0]+(/[^\\s@?\\0]*)?\\Z'": (
        "an address that begins with https:// or http://, without user or query"
    ),
    r"str matching regex '^[1-9][0-9]{0,3}[hdw]$'": (
        "a number of hours, days or weeks such as 12h, 30d or 4w"
    ),
    r"str matching regex '^[1-9][0-9]{0,3}[smhdw]\\Z'": A_SPAN,
    r"str matching regex '^[^\\s:]+:[0-9]{1,5}\\Z'": (
        "a host and a port such as 127.0.0.1:9464"
    ),
    r"str matching regex '^[A-Za-z0-9_]+(\\.[A-Za-z0-9_]+)*\\Z'": (
        "letters, digits and underscores, with dots between names"
    ),
    "str | object | null": "the name of a catalog, or a table that describes it",
    "str | object": "the name of a catalog, or a table that describes it",
    "bool": "true or false",
    "int": "a whole number",
    "str": "a text in quotes",
    "object": "a table",
}
"""What msgspec expects, as a person would say it."""

LISTS = {
    "sources": "a list of tables, each under [[sources]]",
    "alerts": "a list of tables, each under [[alerts]]",
    "schedule": "a table, or a list of tables, each under [[schedule]]",
}

CHOICES = {"kind": Kind, "on": Event, "credential": Credential, "format": ExportFormat}
"""The choices of a key; every other one is about privacy."""


def _in_words(key: str, expected: str) -> str:
    if expected.startswith("Invalid enum"):
        name = re.sub(r"\[\d+\]", "", key).rpartition(".")[2]
        return " or ".join(get_args(CHOICES.get(name, Treatment)))
    if "array" in expected:
        return LISTS.get(key, "a list of texts")
    kind, space, bound = expected.partition(" ")
    if expected in IN_WORDS:
        return IN_WORDS[expected]
    return IN_WORDS.get(kind, kind) + space + bound
