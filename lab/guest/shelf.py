# SPDX-License-Identifier: GPL-2.0-or-later
"""The checkpoints that there are, those that could not be made, and those that nothing leads to
any more."""

import hashlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.artifacts import cache
from lab.artifacts.cache import Artifact, Manifest
from lab.artifacts.initramfs import archive
from lab.guest import initrd
from lab.guest.checkpoints import FORMAT, KIND, Recipe, told_apart
from lab.host import dirs, qemu

_FAILED = ".failed-"
"""How the file of one begins that could not be made; it holds the reason."""
PAUSE = 3600.0
"""Seconds after a failure until it is tried once more."""


@dataclass(frozen=True)
class Shelved:
    """A checkpoint that is there; times in UTC."""

    artifact: Artifact
    manifest: Manifest
    last_used: datetime

    @property
    def mapped(self) -> bool:
        """Whether guests map its memory; otherwise each reads all of it."""
        return self.manifest.versions["mapped"] == "yes"


@dataclass(frozen=True)
class Failure:
    """One that could not be made, and why; the time in UTC."""

    name: str
    key: str
    why: str
    at: datetime
    path: Path


def listing() -> list[Shelved]:
    """All checkpoints, the last used first.  Raises HostError for a damaged one."""
    found = []
    for artifact, manifest in cache.manifests(KIND):
        with suppress(FileNotFoundError):  # removed meanwhile
            found.append(Shelved(artifact, manifest, _time(artifact.path)))
    return sorted(found, key=lambda one: one.last_used, reverse=True)


def failures() -> list[Failure]:
    """Those that could not be made when it was tried last, and are not tried again yet."""
    return [one for one in _failures() if _age(one) < PAUSE]


def forget_old_failures() -> None:
    """Remove what is written of those that are tried again."""
    for failure in _failures():
        if _age(failure) >= PAUSE:
            failure.path.unlink(missing_ok=True)


def _failures() -> list[Failure]:
    found = []
    for path in sorted(dirs.cache("artifacts", KIND).glob(f"{_FAILED}*")):
        name, _, key = path.name.removeprefix(_FAILED).rpartition("-")
        with suppress(FileNotFoundError):
            found.append(Failure(name, key, path.read_text().strip(), _time(path), path))
    return found


def _age(failure: Failure) -> float:
    return (datetime.now(UTC) - failure.at).total_seconds()


def failure_of(artifact: Artifact) -> Path:
    """Where the reason is written why a checkpoint could not be made."""
    return artifact.path.with_name(_FAILED + artifact.path.name)


def remove(wanted: str | None) -> tuple[list[Artifact], list[Failure]]:
    """Remove the checkpoints of that name or key, or all if it is None, and forget the failures;
    what was removed and forgotten.  Guests that began from them keep their memory."""
    doomed = [one for one in cache.listing(KIND) if wanted in (None, one.name, one.key)]
    forgotten = [one for one in _failures() if wanted in (None, one.name, one.key)]
    for failure in forgotten:
        failure.path.unlink(missing_ok=True)
    return [one for one in doomed if cache.remove(one)], forgotten


def origins(recipe: Recipe) -> dict[str, str]:
    """What a checkpoint's manifest says of all that it was made of, for `superseded`."""
    kernel, image = recipe.platform.kernel, recipe.platform.image
    sources = (kernel.vmlinux, kernel.initramfs, image.root)
    inputs = recipe.inputs()
    return {
        "from": "\n".join(str(path.parent) for path in sources),
        "programs": _programs(),
        "files": "\n".join(inputs[name] for name in ("qemu", "root", "modules")),
        "host": inputs["host"],
        "format": inputs["format"],
    }


def superseded(doomed: Collection[Artifact]) -> list[Artifact]:
    """The checkpoints that no guest begins from any more: their kernel, image or QEMU is gone or
    another, or among the `doomed`, or guests have other programs now."""
    gone = {str(one.path) for one in doomed}
    programs = _programs()
    return [one.artifact for one in listing() if not _current(one.manifest, gone, programs)]


def _current(manifest: Manifest, gone: Collection[str], programs: str) -> bool:
    said = manifest.versions
    # Those of an older lab do not say what they were made of.
    sources, files = said.get("from", "").splitlines(), said.get("files", "").splitlines()
    if not sources or not files or any(one in gone or not Path(one).is_dir() for one in sources):
        return False
    if said["host"] and said["host"] != qemu.host_key():
        return False
    made = (said["format"], said["programs"]) == (str(FORMAT), programs)
    return made and all(map(_is_there, files))


def _is_there(known: str) -> bool:
    """Whether a file is still the one that `told_apart` told of."""
    try:
        return told_apart(known.rsplit(" ", 2)[0]) == known
    except OSError:
        return False


def _programs() -> str:
    """A digest of the programs that guests have."""
    return hashlib.sha256(archive(initrd.programs())).hexdigest()


def _time(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
