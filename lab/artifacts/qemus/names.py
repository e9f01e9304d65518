# SPDX-License-Identifier: GPL-2.0-or-later
"""What a QEMU can be called: a name, a path, or a Debian package."""

import re
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from lab.artifacts.book import Book
from lab.artifacts.qemus.package import SUITE, QemuPackage
from lab.artifacts.qemus.source import HostQemu, QemuProgram, QemuSource, QemuTree
from lab.errors import UsageError
from lab.host import dirs

HOST = "host"
"""The one that a profile has unless it names another."""

BOOK: Book[QemuSource] = Book(
    "QEMU",
    "qemu",
    TypeAdapter(
        Annotated[HostQemu | QemuPackage | QemuTree | QemuProgram, Field(discriminator="type")],
        config=ConfigDict(defer_build=True),
    ),
    {HOST: HostQemu()},
)

_PACKAGE = re.compile(
    r"(?P<package>qemu-[a-z0-9+.-]+)(?:/(?P<suite>[a-z][a-z0-9-]*))?(?:=(?P<version>\S+))?"
)


def resolve(reference: str) -> QemuSource:
    """The source that a reference means.

    A name that ships or was added; the path of a program, or of a build tree; `qemu-system-x86`
    with or without /SUITE and =VERSION.  Raises UsageError for anything else.
    """
    if source := BOOK.known().get(reference):
        return source
    if "/" in reference and dirs.exists(path := dirs.expanded(reference)):
        path = path.absolute()
        return QemuTree(tree=path) if path.is_dir() else QemuProgram(path=path)
    if _PACKAGE.fullmatch(reference):
        return package(reference)
    raise UsageError(
        f"no QEMU {reference}",
        hint=f"known: {', '.join(BOOK.known())}; or the path of a program or of a build tree, or "
        "a Debian package such as qemu-system-x86/sid; lab qemu add gives it a name",
    )


def is_place(reference: str) -> bool:
    """Whether a reference means what lies somewhere on this host, and has no name here: a path,
    also one that leads nowhere."""
    if reference in BOOK.known() or "/" not in reference:
        return False
    return not _PACKAGE.fullmatch(reference) or dirs.exists(dirs.expanded(reference))


def package(words: str) -> QemuPackage:
    """The package that PACKAGE[/SUITE][=VERSION] means.  Raises UsageError."""
    rest, _, version = words.partition("=")
    name, _, suite = rest.partition("/")
    try:
        return QemuPackage(package=name, suite=suite or SUITE, version=version)
    except ValidationError as error:
        raise UsageError(
            f"{words}: no package", hint="such as qemu-system-x86/sid, or …/sid=1:11.1.3+ds-1"
        ) from error


def canonical(reference: str) -> str:
    """A reference that means the same in every directory: a path becomes absolute.

    A name goes before a file of that name, which `./` tells apart.
    """
    path = dirs.expanded(reference)
    if reference in BOOK.known() or "/" not in reference or not dirs.exists(path):
        return reference
    return str(path.absolute())


def qemu_name(reference: str | None) -> str:
    """What a QEMU that is asked for is called in every directory; '' for none.  Raises UsageError
    for a name that means nothing."""
    if reference is None:
        return ""
    found = canonical(reference)
    resolve(found)
    return found
