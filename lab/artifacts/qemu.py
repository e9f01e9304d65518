# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs: the programs by their names, and what is unpacked of them."""

from dataclasses import dataclass
from pathlib import Path

from lab.artifacts import cache
from lab.artifacts.cache import Artifact, Made, Progress
from lab.artifacts.qemus import names, package
from lab.artifacts.qemus.source import QemuSource
from lab.errors import LabError
from lab.host import qemu


@dataclass(frozen=True)
class NamedQemu:
    """A QEMU by its name, '' if it has none, and all that is unpacked of it, newest first."""

    name: str
    source: str
    made: list[Made]
    version: str = ""
    """As it says itself; '' where it is not unpacked, or does not run."""


def ensure_qemu(reference: str, progress: Progress) -> Path:
    """The program that `reference` means (lab.artifacts.qemus.names), unpacked at first use.

    Raises UsageError for an unknown one, HostError when it cannot be had or does not run.
    """
    return names.resolve(reference).program(progress)


def add(name: str, source: QemuSource, progress: Progress) -> str:
    """Give a QEMU a name, and see that it runs and has what is tested; its version.

    Raises UsageError for a name that has another meaning, HostError for a QEMU that is of no use.
    """
    names.BOOK.check(name, source)
    version = package.tried(source.program(progress))
    names.BOOK.add(name, source)
    return version


def listing() -> list[NamedQemu]:
    """The QEMUs that have names, and what else is unpacked: packages given as such."""
    found = [
        NamedQemu(name, source.summary, made, _version(source, made))
        for name, source in names.BOOK.known().items()
        for made in [source.made()]
    ]
    named = {one.source for one in found}
    others: dict[str, list[Made]] = {}
    for artifact, manifest in cache.manifests(package.KIND):
        source = manifest.versions["source"]
        if source not in named:
            others.setdefault(source, []).append((artifact, manifest))
    return found + [
        NamedQemu("", source, made, made[0][1].versions["version"])
        for source, made in others.items()
    ]


def superseded() -> list[Artifact]:
    """What an older lab unpacked, which this one would unpack otherwise."""
    return [
        artifact
        for artifact, manifest in cache.manifests(package.KIND)
        if not names.package(manifest.versions["source"]).makes(artifact)
    ]


def _version(source: QemuSource, made: list[Made]) -> str:
    """What is known of its version without unpacking anything."""
    if made:
        return made[0][1].versions["version"]
    if isinstance(source, package.QemuPackage):
        return ""
    try:
        return qemu.version(str(source.program(lambda _: None)))
    except LabError:
        return ""


def remove(qemu: NamedQemu) -> list[Artifact]:
    """Remove what is unpacked of a QEMU, and its name if it was added; what was removed.

    What another name has as well stays; a guest that runs it keeps its files until it ends.
    """
    names.BOOK.forget(qemu.name)
    others = [other for name, other in names.BOOK.known().items() if name != qemu.name]
    if any(other.summary == qemu.source for other in others):
        return []
    return [artifact for artifact, _ in qemu.made if cache.remove(artifact)]
