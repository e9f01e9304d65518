# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets come from the environment or from a file that nobody else can read."""

import os
import stat
from pathlib import Path

from lab.errors import UsageError


def take(variable: str, path: Path | None) -> str:
    """The secret in an environment variable, which is removed so that no run inherits it, or else
    in a file; '' if there is neither.

    Raises UsageError when the file cannot be read, or others can read it.
    """
    if found := os.environ.pop(variable, ""):
        return found
    if path is None:
        return ""
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            found = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"{path}: {said}", hint=f"write it, or set {variable}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{path}: others can read it", hint=f"chmod 600 {path}")
    if not found:
        raise UsageError(f"{path}: it is empty", hint=f"write it, or set {variable}")
    return found
