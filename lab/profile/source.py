# SPDX-License-Identifier: GPL-2.0-or-later
"""From a profile's file to its document."""

from pathlib import Path

from lab.document import Document, parse
from lab.profile.find import display
from lab.yamlfile import text


def read(path: Path) -> Document:
    """The document in the file at `path`.

    Raises CannotRead, or another InvalidProfileError if what is in it is no YAML document.
    """
    return parse(text(path, display(path)), display(path))
