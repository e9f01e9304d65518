# SPDX-License-Identifier: GPL-2.0-or-later
"""From a profile's file to its document."""

from pathlib import Path

from lab.profile.document import Document, parse, unreadable
from lab.profile.find import display
from lab.profile.problem import InvalidProfileError, Problem

MAX_BYTES = 2**20
"""A profile is a page; a megabyte is the wrong file."""


class CannotRead(InvalidProfileError):
    """The file cannot be read at all; its one problem says why."""


def read(path: Path) -> Document:
    """The document in the file at `path`.

    Raises CannotRead, or another InvalidProfileError if what is in it is no YAML document.
    """
    return parse(_text(path), display(path))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    # ValueError: a NUL in the path.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"cannot be read: {reason}; expected a YAML file"
        raise CannotRead((Problem(display(path), None, "", message),)) from error
    if len(content) > MAX_BYTES:
        unreadable(display(path), 1, f"more than {MAX_BYTES} bytes; expected a profile")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"{content[error.start]:#04x}"
        unreadable(display(path), line, f"byte {byte}; expected UTF-8")
