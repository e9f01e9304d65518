# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel can be called: a name, a path, a commit of a git tree, or a Debian package."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter

from lab.artifacts.book import Book
from lab.artifacts.kernels import found, gcov
from lab.artifacts.kernels.archive import Archive
from lab.artifacts.kernels.brought import brought
from lab.artifacts.kernels.image import KernelImage
from lab.artifacts.kernels.linux import Linux
from lab.artifacts.kernels.package import KernelPackage
from lab.artifacts.kernels.source import KernelSource
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import UsageError
from lab.host import dirs

SHIPPED: dict[str, KernelPackage] = {
    "debian": KernelPackage(package="linux-image-amd64"),
    "debian-sid": KernelPackage(package="linux-image-amd64", suite="sid"),
}
"""Kernels that need no `lab kernel add`."""

_PACKAGE = re.compile(r"(?P<package>linux-image-[a-z0-9+.-]+)(?:/(?P<suite>[a-z][a-z0-9-]*))?")

_COUNTED = "+gcov:"
"""In a reference, between a kernel and what of it counts what it executes."""

_DEFINITION: TypeAdapter[KernelSource] = TypeAdapter(
    Annotated[
        KernelPackage | KernelTree | KernelImage | Archive | Linux, Field(discriminator="type")
    ],
    config=ConfigDict(defer_build=True),
)
BOOK: Book[KernelSource] = Book("kernel", "kernel", _DEFINITION, SHIPPED)


def resolve(reference: str) -> KernelSource:
    """The source that a reference means.

    A name that ships or was added; the path of a built tree, or of anything else that holds a
    kernel (lab.artifacts.kernels.found); PATH@COMMIT of a git tree; `linux-image-…` with or without
    /SUITE, as apt-get writes it; any of these with what of it counts, see counting().  Raises
    UsageError for anything else.
    """
    if source := brought(reference) or BOOK.known().get(reference):
        return source
    kernel, counted, places = reference.partition(_COUNTED)
    if counted:
        return resolve(kernel).counting(gcov.paths(places))
    if "/" in reference and dirs.exists(path := dirs.expanded(reference)):
        return found.at(path)
    if "/" in reference and (linux := _commit(reference)):
        return linux
    if package := _PACKAGE.fullmatch(reference):
        return KernelPackage(**{key: value for key, value in package.groupdict().items() if value})
    raise UsageError(
        f"no kernel {reference}",
        hint=f"known: {', '.join(BOOK.known())}; or the path of a built tree or kernel image, "
        "PATH@COMMIT of a git tree, or a Debian package such as linux-image-cloud-amd64/sid",
    )


def is_place(reference: str) -> bool:
    """Whether a reference means what lies somewhere on this host, and has no name here: a path or
    PATH@COMMIT, also one that leads nowhere.  Raises UsageError."""
    if brought(reference) or reference in BOOK.known():
        return False
    kernel, counted, _ = reference.partition(_COUNTED)
    if counted:
        return is_place(kernel)
    if "/" not in reference:
        return False
    return not _PACKAGE.fullmatch(reference) or dirs.exists(dirs.expanded(reference))


def counting(reference: str, places: str) -> str:
    """The reference to a kernel of which directories and files, with commas between, count what
    they execute (lab.artifacts.kernels.gcov).  Raises UsageError."""
    return f"{reference}{_COUNTED}{','.join(gcov.paths(places))}"


def counted(reference: str) -> tuple[str, ...]:
    """What of the kernel that a reference means counts what it executes; () for nothing."""
    _, found, places = reference.partition(_COUNTED)
    return gcov.paths(places) if found else ()


def canonical(reference: str) -> str:
    """A reference that means the same in every directory: a path becomes absolute.

    A name goes before a directory of that name, which `./` tells apart.
    """
    if brought(reference) or reference in BOOK.known():
        return reference
    kernel, found, places = reference.partition(_COUNTED)
    if found:
        return counting(canonical(kernel), places)
    path = dirs.expanded(reference)
    if dirs.exists(path):
        return str(path.absolute())
    if linux := _commit(reference):
        return commit(linux.source, linux.rev)
    return reference


def kernel_name(reference: str | None) -> str:
    """What a kernel that is asked for is called in every directory; '' for none.  Raises UsageError
    for a name that means nothing."""
    if reference is None:
        return ""
    found = canonical(reference)
    resolve(found)
    return found


def commit(tree: Path, rev: str) -> str:
    """The reference to the kernel that a commit of a git tree makes."""
    return f"{tree}@{rev}"


def _commit(reference: str) -> Linux | None:
    """The kernel that TREE@COMMIT means; None for any other reference."""
    where, _, rev = reference.partition("@")
    tree = dirs.expanded(where).absolute()
    known_to_git = where and rev and (tree / ".git").exists()
    return Linux(source=tree, rev=rev) if known_to_git else None


def forget(name: str) -> None:
    """Take the name from what was added under it, with the series that was fetched for it."""
    BOOK.forget(name, fetched(name))


def fetched(name: str) -> Path:
    """Where the series is kept that was fetched for a kernel."""
    return dirs.state("kernels") / f"{name}.series"
