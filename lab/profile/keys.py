# SPDX-License-Identifier: GPL-2.0-or-later
"""Every key of a profile in a line each, as `lab profile keys` and docs/profile-keys.md show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.profile.schema import json_schema
from lab.profile.units import DURATION_PATTERN, SIZE_PATTERN

_FIRST = ("type", "name", "serial", "over")
_LAST = ("required",)


@dataclass(frozen=True)
class Key:
    """A key, what its value looks like, its default in YAML ('' if it must be given), and help."""

    key: str
    value: str
    default: str
    help: str


@dataclass(frozen=True)
class KeySection:
    """The keys of one mapping.

    `title` is the `type` of a device or layer, or the way to a mapping inside one
    (`nvme.namespaces.copy`); `help` says what it is, where the type does.
    """

    title: str
    help: str
    keys: tuple[Key, ...]


def sections() -> list[KeySection]:
    """The profile itself, then every mapping that stands in it, each once."""
    schema = json_schema()
    collected = _Sections(schema["$defs"])
    collected.visit("", schema)
    return list(collected.found.values())


class _Sections:
    """Collects sections by the name of their model."""

    def __init__(self, defs: dict[str, Any]) -> None:
        self.defs = defs
        self.found: dict[str, KeySection] = {}

    def visit(self, way: str, schema: dict[str, Any], name: str = "profile") -> None:
        """Add a model's section, and those of the mappings in it."""
        kind = schema["properties"].get("type", {})
        title = str(kind.get("const", way or name))
        self.found[name] = KeySection(title, "", ())  # in its place, before those inside
        keys = []
        for key, value in sorted(schema["properties"].items(), key=_rank):
            if key == "type":
                continue
            looks = _looks(value)
            for inner in _references(value):
                if inner not in self.found:
                    self.visit(f"{title}.{key}" if way else key, self.defs[inner], inner)
                if not self.defs[inner]["properties"].get("type"):
                    looks = f"{looks}, see {self.found[inner].title}"
            required = key in schema.get("required", ())
            default = "" if required else _default(value)
            keys.append(Key(key, looks, default, value.get("description", "")))
        self.found[name] = KeySection(title, kind.get("description", ""), tuple(keys))


def _rank(item: tuple[str, object]) -> int:
    key = item[0]
    if key in _FIRST:
        return _FIRST.index(key) - len(_FIRST)
    return 1 + _LAST.index(key) if key in _LAST else 0


def _default(value: dict[str, Any]) -> str:
    match value.get("default"):
        case None | [] | {}:
            return "-"
        case bool() as flag:
            return str(flag).lower()
        case dict():
            return "as below"
        case other:
            return str(other)


def _looks(value: dict[str, Any]) -> str:
    """What a value looks like, in a few words."""
    if "const" in value:
        return str(value["const"])
    if "enum" in value:
        return ", ".join(map(str, value["enum"]))
    if any(True for _ in _references(value)):
        others = [
            _looks(each)
            for each in value.get("anyOf", ())
            if each.get("type") != "null" and not any(True for _ in _references(each))
        ]
        return " or ".join([*others, "list" if value.get("type") == "array" else "mapping"])
    if "anyOf" in value:
        words = dict.fromkeys(_looks(each) for each in value["anyOf"])
        words.pop("null", None)
        return "size" if "size" in words else " or ".join(words)
    match value.get("type"):
        case "array":
            return f"list of {_looks(value['items'])}"
        case "integer" if "maximum" in value and value["maximum"] < 2**62:
            return f"{value['minimum']} to {value['maximum']}"
        case "string" if value.get("pattern") == f"^{SIZE_PATTERN}$":
            return "size"
        case "string" if value.get("pattern") == f"^{DURATION_PATTERN}$":
            return "duration"
        case "string":
            return "text"
        case "boolean":
            return "true, false"
        case other:
            return str(other)


def _references(value: object) -> Iterator[str]:
    """Names of the models that a value may be."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield str(inner).rpartition("/")[2]
            elif key not in ("discriminator", "default"):
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
