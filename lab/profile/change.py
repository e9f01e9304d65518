# SPDX-License-Identifier: GPL-2.0-or-later
"""`--set PATH=VALUE`: changes to a profile from the command line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from json import dumps
from typing import Any

from lab.document import Document, Place, parse
from lab.errors import ProfileError, UsageError
from lab.problem import PLAIN_KEY, InvalidProfileError, KeyPath, Problem, dotted, shown

_STEP = re.compile(rf"\.(?P<key>{PLAIN_KEY})|\[(?P<index>[0-9]{{1,9}})\]|\[(?P<name>[^\[\]]+)\]")
_EXAMPLE = (
    "such as --set machine.memory=4G or --set 'devices[0].mdts=5'; "
    "an item can be named by its serial or name: --set 'devices[LABNVME0].mdts=5'"
)


@dataclass(frozen=True)
class ItemName:
    """The item of a list whose `serial` or `name` this is."""

    name: str

    def __str__(self) -> str:
        return self.name


Step = str | int | ItemName
"""One step of the way to a value: a mapping's key, a list's index, or an item's name."""


@dataclass(frozen=True)
class ProfileChange:
    """One change: the way to a value, and in YAML what it becomes."""

    argument: str
    steps: tuple[Step, ...]
    value: str

    @classmethod
    def parse(cls, argument: str) -> "ProfileChange":
        """The change that `PATH=VALUE` asks for; PATH is as dotted() writes it, where an item's
        name can stand for its index.  Raises UsageError."""
        path, equals, value = argument.partition("=")
        # With a dot before it, the first key is a step like all others.
        way = f".{path}"
        steps = list(_STEP.finditer(way))
        if not equals or "".join(step.group() for step in steps) != way:
            raise UsageError(f"--set {_printable(argument)}: expected PATH=VALUE", hint=_EXAMPLE)
        return cls(argument, tuple(map(_step, steps)), value)

    @property
    def place(self) -> Place:
        """Where the value stands, for the problems with it."""
        return Place(f"--set {_printable(self.argument)}", None)


def booting(
    changes: Sequence[str], kernel: str, qemu: str, boot: str = "", spares: int | None = None
) -> list[str]:
    """The changes, and those that give a profile another kernel or QEMU, where one is named,
    another way to begin, or another number of spares."""
    # Quoted: 6.12 is a name, not a number.
    named = {"kernel": kernel, "machine.qemu": qemu, "guest.boot": boot}
    more = [f"{path}={dumps(name)}" for path, name in named.items() if name]
    if spares is not None:
        more.append(f"guest.spares={spares}")
    return [*changes, *more]


def changed(document: Document, changes: Sequence[ProfileChange]) -> Document:
    """`document`, whose data is a mapping, after all `changes`, one after the other.

    A change that cannot be made is a fault of the new document.
    """
    return reduce(_changed, changes, document)


def _changed(document: Document, change: ProfileChange) -> Document:
    try:
        path = _path(document.data, change)
        value = _value(change, path)
    except InvalidProfileError as error:
        return replace(document, faults=[*document.faults, *error.problems])
    kept = document.without({path})
    # Mappings and lists that were not there are made on the way.
    way = {path[:length]: change.place for length in range(len(path))}
    return Document(
        data=_put(document.data, path, value.data),
        places={**way, **kept.places, **value.places},
        faults=[*document.faults, *value.faults],
        unread=kept.unread | value.unread,
    )


def _path(data: Any, change: ProfileChange) -> KeyPath:
    """The path that the steps of `change` mean in `data`; its end need not be there yet.

    Raises InvalidProfileError if there is no such way.
    """
    path: KeyPath = ()
    for step in change.steps:
        where = dotted(path)
        try:
            path = (*path, _position(data, step, where))
        except ProfileError as error:
            key = f"{where}.{step}" if isinstance(step, str) else f"{where}[{step}]"
            problem = Problem(*change.place, key, str(error))
            raise InvalidProfileError((problem,)) from error
        data = _inner(data, path[-1])
    return path


def _position(data: Any, step: Step, where: str) -> str | int:
    """The key or index that `step` means in `data`, the value at `where`.

    Where there is nothing yet, there will be what the step needs.  Raises ProfileError.
    """
    match data, step:
        case ((dict() | None), str()):
            return step
        case ((tuple() | None), ItemName()):
            return _index(data or (), step, where)
        case ((tuple() | None), int()):
            count = len(data or ())
            if step <= count:
                return step
            items = "1 item" if count == 1 else f"{count} items"
            raise ProfileError(f"{where} has {items}; expected at most [{count}], which adds one")
        case tuple(), _:
            raise ProfileError(f"{where} is a list; expected an item of it, such as {where}[0]")
        case dict(), _:
            raise ProfileError(f"{where} is a mapping; expected a key of it: {where}.KEY")
    raise ProfileError(f"{where} is {shown(data)}; expected a path that ends there")


def _index(items: tuple[Any, ...], wanted: ItemName, where: str) -> int:
    """The first of `items`, which are those at `where`, with that name.  Raises ProfileError."""
    known = [
        (item[key], index)
        for index, item in enumerate(items)
        for key in ("serial", "name")
        if isinstance(item, dict) and isinstance(item.get(key), str)
    ]
    for name, index in known:
        if name == wanted.name:
            return index
    names = ", ".join(f"[{name}]" for name, _ in known)
    raise ProfileError(f"{where} has no item of that name; expected {names or 'an index'}")


def _value(change: ProfileChange, path: KeyPath) -> Document:
    """The value of `change` as a document that starts at `path`.

    Raises InvalidProfileError if it is no YAML.
    """
    try:
        value = parse(change.value, change.place.file, path)
    except InvalidProfileError as error:
        (problem,) = error.problems
        raise InvalidProfileError((replace(problem, line=None, key=dotted(path)),)) from error
    return replace(
        value,
        places=dict.fromkeys(value.places, change.place),
        faults=[replace(fault, line=None) for fault in value.faults],
    )


def _inner(data: Any, step: str | int) -> Any:
    """What is in `data` at `step`, or None."""
    if isinstance(step, str):
        return data.get(step) if data else None
    return data[step] if data and step < len(data) else None


def _put(data: Any, path: KeyPath, value: Any) -> Any:
    """`data` with `value` at `path`; what is missing on the way is made."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    inner = _put(_inner(data, step), rest, value)
    if isinstance(step, str):
        return {**(data or {}), step: inner}
    items = data or ()
    return (*items[:step], inner, *items[step + 1 :])


def _step(match: re.Match[str]) -> Step:
    if match["index"]:
        return int(match["index"])
    return ItemName(match["name"]) if match["name"] else match["key"]


def _printable(argument: str) -> str:
    """The argument as it was typed, unless that would not be one line."""
    return argument if argument.isprintable() else shown(argument)
