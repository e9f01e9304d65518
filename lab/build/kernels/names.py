"""What a kernel can be called: a name, a path, a commit of a git tree, or a Debian package."""

import re
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from lab.build.kernels import found
from lab.build.kernels.archive import Archive
from lab.build.kernels.image import Image
from lab.build.kernels.linux import Linux
from lab.build.kernels.package import Package
from lab.build.kernels.source import Source
from lab.build.kernels.tree import Tree
from lab.errors import HostError, UsageError
from lab.host import dirs, lock
from lab.host.dirs import not_writable

SHIPPED: dict[str, Package] = {
    "debian": Package(package="linux-image-amd64"),
    "debian-sid": Package(package="linux-image-amd64", suite="sid"),
}
"""Kernels that need no `lab kernel add`."""

_DEADLINE = 30.0
"""Seconds to wait for another process that writes a name: milliseconds, but on a busy disk."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PACKAGE = re.compile(r"(?P<package>linux-image-[a-z0-9+.-]+)(?:/(?P<suite>[a-z][a-z0-9-]*))?")

_DEFINITION: TypeAdapter[Source] = TypeAdapter(
    Annotated[Package | Tree | Image | Archive | Linux, Field(discriminator="type")]
)


def resolve(reference: str) -> Source:
    """The source that a reference means.

    A name that ships or was added; the path of a built tree, or of anything else that holds a
    kernel (lab.build.kernels.found); PATH@COMMIT of a git tree; `linux-image-…` with or without
    /SUITE, as apt-get writes it.  Raises UsageError for anything else.
    """
    if source := known().get(reference):
        return source
    if "/" in reference and _exists(path := Path(reference).expanduser()):
        return found.at(path)
    if "/" in reference and (linux := _commit(reference)):
        return linux
    if package := _PACKAGE.fullmatch(reference):
        return Package(**{key: value for key, value in package.groupdict().items() if value})
    raise UsageError(
        f"no kernel {reference}",
        hint=f"known: {', '.join(known())}; or the path of a built tree or kernel image, "
        "PATH@COMMIT of a git tree, or a Debian package such as linux-image-cloud-amd64/sid",
    )


def canonical(reference: str) -> str:
    """A reference that means the same in every directory: a path becomes absolute.

    A name goes before a directory of that name, which `./` tells apart.
    """
    path = Path(reference).expanduser()
    if reference in known():
        return reference
    if _exists(path):
        return str(path.absolute())
    if linux := _commit(reference):
        return commit(linux.source, linux.rev)
    return reference


def commit(tree: Path, rev: str) -> str:
    """The reference to the kernel that a commit of a git tree makes."""
    return f"{tree}@{rev}"


def _commit(reference: str) -> Linux | None:
    """The kernel that TREE@COMMIT means; None for any other reference."""
    where, _, rev = reference.partition("@")
    tree = Path(where).expanduser().absolute()
    known_to_git = where and rev and (tree / ".git").exists()
    return Linux(source=tree, rev=rev) if known_to_git else None


def _exists(path: Path) -> bool:
    """Whether there is anything at a path, as far as this user may look."""
    try:
        return path.exists()
    except PermissionError:
        return True  # Whoever reads it says so.
    except OSError:
        return False  # Too long for a path.


def known() -> dict[str, Source]:
    """The kernels that have names: those that ship, then those that were added."""
    return {**SHIPPED, **added()}


def added() -> dict[str, Source]:
    """The kernels that were added.  Raises HostError for a definition that cannot be read."""
    found = {}
    for path in sorted(dirs.state("kernels").glob("*.json")):
        try:
            found[path.stem] = _DEFINITION.validate_json(path.read_bytes())
        except FileNotFoundError:
            continue  # Somebody takes the name away just now.
        except (ValidationError, OSError) as error:
            raise HostError(
                f"{path}: no definition of a kernel: {error}", hint="remove that file"
            ) from error
    return found


def add(name: str, source: Source) -> None:
    """Give a source a name.  Raises UsageError when it has another meaning already."""
    with _locked():
        if known().get(name) != source:
            check_free(name)
        path = _file(name)
        new = path.with_suffix(".new")
        try:
            new.write_text(source.model_dump_json(indent=1) + "\n")
            new.replace(path)
        except OSError as error:
            raise not_writable(path, error) from error
        finally:
            new.unlink(missing_ok=True)


def check_free(name: str) -> None:
    """Raise UsageError for what is no name, or has a meaning already."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"kernel {name}: no name for a kernel",
            hint="up to 64 letters, digits, '.', '_' and '-'",
        )
    if name in known():
        raise UsageError(f"kernel {name} is known already", hint=f"lab kernel rm {name} first")


def forget(name: str) -> None:
    """Take the name from what was added under it, with the series that was fetched for it."""
    with _locked():
        _file(name).unlink(missing_ok=True)
        shutil.rmtree(fetched(name), ignore_errors=True)


def fetched(name: str) -> Path:
    """Where the series is kept that was fetched for a kernel."""
    return dirs.state("kernels") / f"{name}.series"


def _locked() -> AbstractContextManager[None]:
    """One process at a time gives and takes names."""
    return lock.held(dirs.state() / "kernels.lock", deadline=_DEADLINE)


def _file(name: str) -> Path:
    return dirs.state("kernels") / f"{name}.json"
