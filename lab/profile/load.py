"""From a YAML file to a Profile, or to everything that is wrong with the file at once."""

from pathlib import Path

from pydantic import ValidationError

from lab.profile.base import Conflict
from lab.profile.document import Document, DocumentError, parse
from lab.profile.explain import explain
from lab.profile.find import display, find
from lab.profile.models import Profile
from lab.profile.problem import InvalidProfileError, KeyPath, Problem, dotted, shown

MAX_BYTES = 2**20
"""A profile is a page; a megabyte is the wrong file."""


def load(name_or_path: str) -> Profile:
    """The profile of that name or in that file.

    Raises ProfileError for an unknown name, and what load_file() raises.
    """
    return load_file(find(name_or_path))


def load_file(path: Path) -> Profile:
    """The profile in the YAML file at `path`; its name is the file's without the suffix.

    Raises InvalidProfileError, with a line for each problem, if the file cannot be read or does
    not describe a guest.  What is wrong between values is told once each of them is right.
    """
    file = display(path)
    try:
        document = parse(_read(path, file))
    except DocumentError as problem:
        raise InvalidProfileError((Problem(file, problem.line, "", problem.message),)) from problem
    profile, wrong = _validate(document, path.stem)
    found = [(line, key, message) for key, line, message in document.faults]
    found += [(document.line(key), key, message) for key, message in wrong]
    if found or profile is None:
        found.sort(key=lambda problem: problem[0])
        raise InvalidProfileError(
            tuple(Problem(file, n, dotted(key), text) for n, key, text in found)
        )
    return profile


def _read(path: Path, file: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    # ValueError: a NUL in the path.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(file, None, "", f"cannot be read: {reason}; expected a YAML file")
        raise InvalidProfileError((problem,)) from error
    if len(content) > MAX_BYTES:
        raise DocumentError(1, f"more than {MAX_BYTES} bytes; expected a profile")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(line, f"byte {content[error.start]:#04x}; expected UTF-8") from error


def _validate(document: Document, name: str) -> tuple[Profile | None, list[Conflict]]:
    """The profile, or None and what is wrong apart from the document's own faults."""
    if not isinstance(document.data, dict):
        what = "empty" if document.data is None else f"{shown(document.data)} instead of a mapping"
        return None, [((), f"{what}; expected a mapping with {', '.join(Profile.yaml_keys())}")]
    wrong: list[Conflict] = []
    if "name" in document.data:
        wrong.append((("name",), "not a key; expected no name: it is the file's name"))
    try:
        return Profile.model_validate({**document.data, "name": name}), wrong
    except ValidationError as error:
        told = document.unread
        return None, wrong + [found for found in explain(error) if not _below(found[0], told)]


def _below(path: KeyPath, tops: set[KeyPath]) -> bool:
    """Whether `path` is one of `tops` or inside one."""
    return any(path[:length] in tops for length in range(len(path) + 1))
