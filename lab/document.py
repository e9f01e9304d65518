# SPDX-License-Identifier: GPL-2.0-or-later
"""YAML as profiles use it: plain data, and the place of every value.

This is the core schema of YAML 1.2, which editors check against too: dates, `yes` and `1:30` are
text.  Anchors, aliases and tags are refused, so that what a line says is what is meant.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

import yaml

from lab.problem import InvalidProfileError, KeyPath, Problem, dotted, shown

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_Event = Any
"""A yaml.Event, whose attributes depend on its class and on the loader."""

MAX_DEPTH = 32
"""Levels of nesting; no profile comes near it."""

_TOO_DEEP = f"nested too deep; expected at most {MAX_DEPTH} levels"
_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"
"""What libyaml says, where it has a limit of its own, before it comes to what is nested."""

_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
# As many digits as any Python turns into an int (PYTHONINTMAXSTRDIGITS is at least 640).
_INT = re.compile(r"[-+]?[0-9]{1,600}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)")


class Place(NamedTuple):
    """Where a value stands: a file and a line of it from 1, or None where there are no lines."""

    file: str
    line: int | None


@dataclass
class Document:
    """The data of a YAML document, the place of each value, and what profiles forbid in YAML.

    Mappings are dicts, lists are tuples.  `places` has each path's place: that of the key in a
    mapping, that of the item in a list.  `faults` are the problems of the YAML itself; `unread`
    are the paths whose value is not what the file means, because of a fault.
    """

    data: Any
    places: dict[KeyPath, Place]
    faults: list[Problem] = field(default_factory=list)
    unread: set[KeyPath] = field(default_factory=set)

    def problems(self, found: Iterable[tuple[KeyPath, str]] = ()) -> tuple[Problem, ...]:
        """The faults, and what was `found` (path and message) where the file could be read, in
        the order of files and lines."""
        told = [
            Problem(*self._place(path), dotted(self._written(path)), message)
            for path, message in found
            if not inside(path, self.unread)
        ]
        return tuple(sorted([*self.faults, *told], key=lambda each: (each.file, each.line or 0)))

    def without(self, tops: Collection[KeyPath]) -> "Document":
        """The document with nothing known of `tops` and what is inside; the data is the same."""
        return Document(
            self.data,
            {path: place for path, place in self.places.items() if not inside(path, tops)},
            self.faults,
            {path for path in self.unread if not inside(path, tops)},
        )

    def _written(self, path: KeyPath) -> KeyPath:
        """`path`, or that of the word which stands for the mapping in which it would be."""
        value = self.data
        for length, step in enumerate(path):
            if isinstance(value, str):
                return path[:length]
            value = value.get(step) if isinstance(value, dict) else None
        return path

    def _place(self, path: KeyPath) -> Place:
        """The place of `path`, or of what encloses it where there is no such key."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def inside(path: KeyPath, tops: Collection[KeyPath]) -> bool:
    """Whether `path` is one of `tops` or inside one."""
    return any(path[:length] in tops for length in range(len(path) + 1))


def parse(text: str, file: str, top: KeyPath = ()) -> Document:
    """Read the one YAML document in `text`, whose problems are those of `file`.

    With `top`, all paths start with it: the text is the value that stands there.  Raises
    InvalidProfileError where it is not YAML at all, has several documents or is nested deeper than
    MAX_DEPTH; everything less is noted in the document's `faults`.
    """
    if bad := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        unreadable(file, line, f"character {shown(bad.group())}; expected printable text")
    try:
        return _Composer(yaml.parse(text, Loader=_Loader), file).document(top)
    # ValueError: PyYAML without libyaml lets it out for an escape such as \U00110000.
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        context = getattr(error, "context", None)
        message = f"{problem} {context}" if context else problem
        # At the end of the text the mark is on the line after the last.
        last = max(len(text.splitlines()), 1)
        line = min(mark.line + 1, last) if mark else 1
        if problem == _LIBYAML_TOO_DEEP:
            unreadable(file, line, _TOO_DEEP)
        unreadable(file, line, f"not valid YAML: {' '.join(message.split())}")


def unreadable(file: str, line: int | None, message: str) -> NoReturn:
    """Raise InvalidProfileError for a file as a whole, of which `line` shows why."""
    raise InvalidProfileError((Problem(file, line, "", message),))


class _Composer:
    """Builds the document from YAML events; PyYAML's own composer keeps no duplicates."""

    def __init__(self, events: Iterator[_Event], file: str) -> None:
        self.events = events
        self.file = file
        self.result = Document(None, {})

    def document(self, top: KeyPath) -> Document:
        self.result.places[top] = Place(self.file, 1)
        next(self.events)  # start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return self.result
        root = next(self.events)
        self.result.places[top] = self._place(root)
        self.result.data = self._value(root, top)
        next(self.events)  # end of the document
        more = next(self.events)
        if not isinstance(more, yaml.StreamEndEvent):
            message = "another document starts; expected one document in the file"
            unreadable(*self._place(more), message)
        return self.result

    def _value(self, event: _Event, path: KeyPath) -> object:
        if len(path) > MAX_DEPTH:
            unreadable(*self._place(event), _TOO_DEEP)
        self._plain(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return _scalar(event) if isinstance(event, yaml.ScalarEvent) else None

    def _plain(self, event: _Event, path: KeyPath) -> None:
        """Note what makes a value anything but itself: alias, anchor or tag."""
        if isinstance(event, yaml.AliasEvent):
            self._fault(event, path, f"alias *{event.anchor}; expected the value itself")
            self.result.unread.add(path)
            return
        if event.anchor is not None:
            self._fault(event, path, f"anchor &{event.anchor}; expected the value alone")
        if event.tag not in (None, "!"):
            self._fault(event, path, f"tag {shown(event.tag)}; expected the value alone")
            self.result.unread.add(path)

    def _fault(self, event: _Event, path: KeyPath, message: str) -> None:
        self.result.faults.append(Problem(*self._place(event), dotted(path), message))

    def _place(self, event: _Event) -> Place:
        return Place(self.file, event.start_mark.line + 1)

    def _sequence(self, path: KeyPath) -> tuple[object, ...]:
        items: list[object] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self.result.places[here] = self._place(event)
            items.append(self._value(event, here))
        return tuple(items)

    def _mapping(self, path: KeyPath) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._aside(event, path)
            if not isinstance(key, str):
                self._fault(event, path, f"{shown(key)} as a key; expected text")
                self._aside(next(self.events), path)
                continue
            here = (*path, key)
            if key in items:
                first = self.result.places[here].line
                self._fault(event, here, f"key given twice; expected it once, as on line {first}")
                self._aside(next(self.events), path)
                continue
            self.result.places[here] = self._place(event)
            self._plain(event, here)
            items[key] = self._value(next(self.events), here)
        return items

    def _aside(self, event: _Event, path: KeyPath) -> object:
        """The value that starts with `event`, without a trace of it in the document."""
        kept, self.result = self.result, Document(None, {})
        # One level down, so that keys within keys count as nesting.
        value = self._value(event, (*path, ""))
        self.result = kept
        return value


def _scalar(event: _Event) -> object:
    text: str = event.value
    # implicit[0]: neither quoted nor tagged, so its looks decide what it is.
    return looks(text) if event.implicit[0] else text


def looks(text: str) -> object:
    """What a scalar without quotes is taken for (YAML 1.2.2, 10.3.2 Tag Resolution)."""
    lowered = text.lower()
    if lowered in _WORDS and text in (lowered, lowered.upper(), lowered.title()):
        return _WORDS[lowered]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(lowered):
        return float(lowered.replace(".inf", "inf").replace(".nan", "nan"))
    return text
