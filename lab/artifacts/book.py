# SPDX-License-Identifier: GPL-2.0-or-later
"""Definitions with names that users gave: one JSON file for each below the state directory."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from lab.errors import HostError, UsageError
from lab.host import dirs, lock
from lab.host.dirs import not_writable

D = TypeVar("D", bound=BaseModel)

_DEADLINE = 30.0
"""Seconds to wait for another process that writes a name: milliseconds, but on a busy disk."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Book(Generic[D]):
    """The definitions of a kind; `shipped` are those that need no `lab KIND add`."""

    kind: str
    """As people say it, such as `kernel`."""
    command: str
    """Of the lab, such as `kernel`; its files are in the directory `COMMANDs`."""
    reader: TypeAdapter[Any]
    shipped: Mapping[str, D] = field(default_factory=dict)

    def known(self) -> dict[str, D]:
        """What has a name: what ships, then what was added."""
        return {**self.shipped, **self.added()}

    def added(self) -> dict[str, D]:
        """What was added.  Raises HostError for a definition that cannot be read."""
        found = {}
        for path in sorted(self._place().glob("*.json")):
            try:
                found[path.stem] = self.reader.validate_json(path.read_bytes())
            except FileNotFoundError:
                continue  # Somebody takes the name away just now.
            except (ValidationError, OSError) as error:
                raise HostError(
                    f"{path}: no definition of a {self.kind}: {error}", hint="remove that file"
                ) from error
        return found

    def check(self, name: str, definition: D) -> None:
        """Raise UsageError when the name is none, or has another meaning already."""
        if self.known().get(name) != definition:
            self.check_free(name)

    def check_free(self, name: str) -> None:
        """Raise UsageError for what is no name, or has a meaning already."""
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{self.kind} {name}: no name for a {self.kind}",
                hint="up to 64 letters, digits, '.', '_' and '-'",
            )
        if name in self.known():
            cure = f"lab {self.command} rm {name} first"
            raise UsageError(
                f"{self.kind} {name} is known already",
                hint="that one ships" if name in self.shipped else cure,
            )

    def add(self, name: str, definition: D) -> None:
        """Give a definition a name.  Raises UsageError as check() does."""
        with self._locked():
            self.check(name, definition)
            path = self._file(name)
            new = path.with_suffix(".new")
            try:
                new.write_text(definition.model_dump_json(indent=1) + "\n")
                new.replace(path)
            except OSError as error:
                raise not_writable(path, error) from error
            finally:
                new.unlink(missing_ok=True)

    def forget(self, name: str, *more: Path) -> None:
        """Take the name from what was added under it, and remove the directories `more`."""
        with self._locked():
            self._file(name).unlink(missing_ok=True)
            for directory in more:
                shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time gives and takes names, and removes what one left that was killed
        while it wrote."""
        with lock.held(dirs.state() / f"{self.command}s.lock", deadline=_DEADLINE):
            for left in self._place().glob("*.new"):
                left.unlink(missing_ok=True)
            yield

    def _place(self) -> Path:
        return dirs.state(f"{self.command}s")

    def _file(self, name: str) -> Path:
        return self._place() / f"{name}.json"
