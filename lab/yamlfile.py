# SPDX-License-Identifier: GPL-2.0-or-later
"""YAML files that people write: what is wrong with one is told with its line and key."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from lab.document import parse, unreadable
from lab.problem import InvalidProfileError, KeyPath, Problem, shown

_T = TypeVar("_T")

MAX_BYTES = 2**20
"""What a person writes is a page; a megabyte is the wrong file."""

_SHAPES = frozenset({"missing", "extra_forbidden", "too_short", "too_long"})
"""Errors of pydantic's that are not about the value that they come with."""


class CannotRead(InvalidProfileError):
    """The file cannot be read at all; its one problem says why."""


def text(path: Path, name: str = "") -> str:
    """What is in the file at `path`, which messages call `name`.

    Raises CannotRead, or InvalidProfileError if it is no text or too long.
    """
    name = name or os.fspath(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    # ValueError: a NUL in the path.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"cannot be read: {reason}; expected a YAML file"
        raise CannotRead((Problem(name, None, "", message),)) from error
    if len(content) > MAX_BYTES:
        unreadable(name, 1, f"more than {MAX_BYTES} bytes; expected a page")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        unreadable(name, line, f"byte {content[error.start]:#04x}; expected UTF-8")


def read(path: Path, reader: TypeAdapter[_T], empty: object = None, *, hint: str = "") -> _T:
    """What `reader` makes of the file at `path`; `empty` stands for nothing.

    Raises CannotRead, or InvalidProfileError with a line and a key for each thing that is wrong;
    its hint is `hint`.
    """
    try:
        document = parse(text(path), os.fspath(path))
    except InvalidProfileError as error:
        error.hint = hint
        raise
    data = empty if document.data is None else _plain(document.data)
    found: list[_T] = []
    wrong: list[tuple[KeyPath, str]] = []
    try:
        found.append(reader.validate_python(data))
    except ValidationError as error:
        wrong += _told(error)
    if problems := document.problems(wrong):
        raise InvalidProfileError(problems, hint=hint)
    return found[0]


def _plain(value: Any) -> Any:
    """Lists as lists: for a strict model a tuple is none."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _told(error: ValidationError) -> Iterator[tuple[KeyPath, str]]:
    for details in error.errors(include_url=False):
        # pydantic counts only the valid items; the others have problems of their own.
        if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
            continue
        # Tags of unions, which stand in no file, are <written> so.
        path = (step for step in details["loc"] if not str(step).startswith("<"))
        yield tuple(path), _message(details)


def _message(details: ErrorDetails) -> str:
    said = details["msg"].removeprefix("Value error, ")
    if details["type"] in _SHAPES:
        return said
    # What a validator of the lab's own says may quote the value as it is.
    told = said if said.isprintable() else ascii(said)[1:-1]
    return f"{shown(details['input'])} does not fit: {told}"
