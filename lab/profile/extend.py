# SPDX-License-Identifier: GPL-2.0-or-later
"""`extends`: a profile told by how it differs from another one."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

from lab.document import Document
from lab.errors import ProfileError
from lab.problem import InvalidProfileError, KeyPath, shown
from lab.profile.explain import EXTENDS, file_keys
from lab.profile.find import find
from lab.profile.models import Profile
from lab.profile.source import read
from lab.yamlfile import CannotRead


def extended(path: Path) -> Document:
    """The document of the file at `path`, laid over those that it extends.

    Its data is a mapping without `extends`.  Raises InvalidProfileError if a file cannot be read
    or is no mapping, or if the files extend each other in a circle.
    """
    paths, documents = [path], [read(path)]
    while EXTENDS in _mapping(documents[-1]):
        paths.append(_base(documents[-1], paths))
        documents.append(_read_base(paths[-1], documents[-1]))
    whole = reduce(merge, reversed(documents))
    data = {key: value for key, value in _mapping(whole).items() if key != EXTENDS}
    return replace(whole, data=data)


def merge(base: Document, over: Document) -> Document:
    """`base` with what `over` says: mappings key by key, all else replaced.

    Each value keeps the place where it stands.
    """
    kept = base.without(set(_replaced(base.data, over.data)))
    return Document(
        data=_merged(base.data, over.data),
        places={**kept.places, **over.places},
        faults=[*base.faults, *over.faults],
        unread=kept.unread | over.unread,
    )


def _merged(base: object, over: object) -> object:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    both = {key: _merged(base[key], over[key]) for key in base if key in over}
    return {**base, **over, **both}


def _replaced(base: object, over: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths whose values in `base` give way to those in `over`."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        yield path
        return
    for key in base:
        if key in over:
            yield from _replaced(base[key], over[key], (*path, key))


def _mapping(document: Document) -> dict[str, object]:
    if isinstance(document.data, dict):
        return document.data
    what = "empty" if document.data is None else f"{shown(document.data)} instead of a mapping"
    message = f"{what}; expected a mapping with {', '.join(file_keys(Profile))}"
    raise InvalidProfileError(document.problems([((), message)]))


def _base(document: Document, paths: Sequence[Path]) -> Path:
    """The file that `document`, which is the last of `paths`, extends."""
    wanted = _mapping(document)[EXTENDS]
    if not isinstance(wanted, str):
        raise _refused(document, f"{shown(wanted)} is not text; expected a profile's name or path")
    try:
        # What find() takes for a path, it leaves as it is: relative to the file that says so.
        path = paths[-1].parent / find(wanted)
    except ProfileError as error:
        raise _refused(document, str(error)) from error
    if os.path.abspath(path) in map(os.path.abspath, paths):  # noqa: PTH100
        circle = " -> ".join(each.stem for each in (*paths, path))
        raise _refused(document, f"{circle}; expected a profile that does not lead back here")
    return path


def _read_base(path: Path, document: Document) -> Document:
    """The document in the file at `path`, which `document` extends."""
    try:
        return read(path)
    except CannotRead as error:
        wanted = shown(_mapping(document)[EXTENDS])
        raise _refused(document, f"{wanted} {error.problems[0].message}") from error


def _refused(document: Document, message: str) -> InvalidProfileError:
    return InvalidProfileError(document.problems([((EXTENDS,), message)]))
