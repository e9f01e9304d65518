# SPDX-License-Identifier: GPL-2.0-or-later
"""What killed labs and older definitions left: found here, removed by lab.doctor.clean."""

from dataclasses import dataclass
from pathlib import Path

from lab.artifacts import cache, image, kernel, qemu
from lab.artifacts.cache import Artifact
from lab.doctor.finding import Finding, degraded, ok
from lab.guest import registry, shelf
from lab.host import dirs
from lab.host.process import touching

CLEAN = "lab doctor --clean"


@dataclass(frozen=True)
class Leftover:
    """A directory that nobody needs, in words, with the bytes that it takes."""

    what: str
    path: Path
    size: int

    @classmethod
    def at(cls, path: Path, what: str) -> "Leftover":
        """What lies at a path."""
        return cls(what, path, size(path))


def size(path: Path) -> int:
    """Bytes on disk of a directory; what vanishes meanwhile has none."""
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.lstat().st_blocks * 512
        except OSError:
            continue
    return total


def killed() -> list[Leftover]:
    """Guests of labs that were killed before these were up, or before they took them down."""
    found = registry.left_behind()
    return [Leftover.at(path, f"guest {path.name} of a killed lab") for path in found]


def dead() -> list[Leftover]:
    """Guests that `lab up` started, and whose QEMU is gone."""
    found = [path for path in sorted(dirs.state("guests").iterdir()) if registry.died(path)]
    return [Leftover.at(path, f"guest {path.name}, which died") for path in found]


def half_built() -> list[Leftover]:
    """What killed builders left in the cache."""
    found = cache.half_made()
    return [Leftover.at(path, f"{path.parent.name} half-built by a killed lab") for path in found]


def superseded() -> list[tuple[Artifact, Leftover]]:
    """The artifacts that nothing leads to any more."""
    found = [*image.superseded(), *kernel.superseded(lambda _: None), *qemu.superseded()]
    found += shelf.superseded(found)
    return [(one, Leftover.at(one.path, f"{one.kind} {one.name} {one.key}")) for one in found]


def guests() -> Finding:
    """Guests that are dead."""
    return _told([*killed(), *dead()], "none")


def artifacts() -> Finding:
    """Artifacts that nothing leads to any more, and half-built ones."""
    old = superseded()
    used = [one for artifact, one in old if touching(artifact.path)]
    found = [*half_built(), *(one for _, one in old if one not in used)]
    return _told(found, f"none but {len(used)} in use" if used else "none")


def checkpoints() -> Finding:
    """What guests begin from instead of booting."""
    made, failed = shelf.listing(), shelf.failures()
    taken = megabytes(sum(one.manifest.size for one in made))
    said = f"{len(made)}, {taken}" if made else "none yet: the next guest boots, and makes one"
    if not failed:
        return ok(said)
    whys = "; ".join(f"{one.name} {one.key} could not be made: {one.why}" for one in failed)
    return degraded(f"{said}; {whys}", "lab checkpoint rm NAME, to have it tried at once again")


def _told(found: list[Leftover], none: str) -> Finding:
    if not found:
        return ok(none)
    words = "; ".join(leftover.what for leftover in found)
    return degraded(f"{megabytes(sum(one.size for one in found))}: {words}", CLEAN)


def megabytes(count: int) -> str:
    """Bytes as the listings have them."""
    return f"{count / 1e6:.0f} MB"
