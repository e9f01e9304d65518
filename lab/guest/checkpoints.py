# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints of guests: artifacts from which a guest begins in a fraction of a boot.

Each holds a guest without any storage of a profile, whose agent waits to be told who it is.  Its
files are the state of QEMU's devices and, where QEMU can leave it out of that, the memory, which
running guests have mapped: nothing here is written in place.

state       what QEMU's migration wrote
memory      the guest's memory, sparse, and behind it a page that names the state it belongs to
about.json  digests and sizes of both
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from lab.artifacts import cache
from lab.artifacts.cache import Artifact
from lab.artifacts.cmdline import KERNEL_ARGS
from lab.artifacts.initramfs import ArchiveEntry, archive
from lab.errors import HostError
from lab.guest import initrd
from lab.guest.boot import Platform
from lab.host import qemu
from lab.profile.models import Profile
from lab.vm.argv import Boot, Memory, making, wanted_ports
from lab.vm.link import Link

KIND = "checkpoint"
FORMAT = 3
"""Part of every key; raise it when checkpoints are made differently."""

STATE, MEMORY, ABOUT = "state", "memory", "about.json"
_PAGE = 4096
_SAMPLES = 64
"""Pages of the memory that are looked at, besides the one that names the state."""
_WHOLE = 4 << 20
"""Bytes of a state up to which all of it is looked at; with the memory in it, its ends."""

_PORTS = (8, 24)
"""Root ports of a checkpoint: as few as a profile needs, but not one checkpoint for each number."""
_MORE_PORTS = 32


class UnfitCheckpoint(HostError):
    """A checkpoint whose files do not belong together."""


@dataclass(frozen=True)
class About:
    """What is known of a checkpoint's files; `mapped`: the memory is a file of its own; `way`: how
    QEMU was told of the state's (lab.vm.checkpoint.WAYS)."""

    mapped: bool
    way: str
    memory: int
    """Bytes."""
    state_size: int
    state_digest: str
    samples: tuple[int, ...]
    """Where the pages of the memory begin that are looked at."""
    samples_digest: str


@dataclass(frozen=True)
class Recipe:
    """What a checkpoint is made of: the machine and the kernel of a profile, on a platform."""

    profile: Profile
    platform: Platform
    ports: int

    @classmethod
    def of(cls, profile: Profile, platform: Platform, link: Link | None) -> "Recipe":
        """That from which a guest of a profile can begin."""
        wanted = wanted_ports(profile, platform.boot("", link))
        ports = next((enough for enough in _PORTS if wanted <= enough), 0)
        bare = profile.model_copy(
            update={"name": "checkpoint", "description": "nobody yet", "devices": (), "layers": ()}
            | {"peer": None, "path": None}
        )
        plain = Platform(platform.image, platform.kernel, platform.qemu, platform.accelerator)
        return cls(bare, plain, ports or -(-wanted // _MORE_PORTS) * _MORE_PORTS)

    def boot(self, name: str) -> Boot:
        """The host's part in the machine."""
        return self.platform.boot(name, None)

    def files(self) -> dict[str, ArchiveEntry]:
        """What is in its initrd besides the kernel's own."""
        return initrd.everyones(self.profile)

    @cached_property
    def artifact(self) -> Artifact:
        """Where the checkpoint is, or would be."""
        return cache.address(KIND, self.name, self.inputs())

    @property
    def name(self) -> str:
        """What people see of it."""
        return f"{self.platform.kernel.name.replace('/', '-')[-60:]}-{self.platform.image.name}"

    def inputs(self) -> dict[str, str]:
        """All that goes in."""
        memory = Memory(Path(MEMORY), shared=True)
        return {
            "argv": json.dumps(making(self.profile, self.boot(""), self.ports, memory)),
            "arguments": " ".join(KERNEL_ARGS),
            "initramfs": str(self.platform.kernel.initramfs),
            "files": hashlib.sha256(archive(self.files())).hexdigest(),
            "qemu": told_apart(self.platform.qemu),
            # One that was built again is another disk below what the memory has read of it.
            "root": told_apart(self.platform.image.root),
            "modules": told_apart(self.platform.kernel.modules),
            # What KVM gives a guest is the host's own.
            "host": qemu.host_key() if self.platform.accelerator.name == "kvm" else "",
            "format": str(FORMAT),
        }


def told_apart(file: str | Path) -> str:
    """What tells a file from another one, or from what was put in its place.  Raises OSError."""
    path = Path(file).resolve()
    found = path.stat()
    return f"{path} {found.st_size} {found.st_mtime_ns}"


@dataclass(frozen=True)
class Checkpoint:
    """One that is there; `path` is its directory."""

    path: Path
    about: About
    ports: int

    @property
    def state(self) -> Path:
        """The state's file."""
        return self.path / STATE

    @property
    def memory(self) -> Memory:
        """What a guest that begins from it has as its memory."""
        return Memory(self.path / MEMORY if self.about.mapped else None, shared=False)


def find(recipe: Recipe) -> Checkpoint | None:
    """The checkpoint made by a recipe, if it is there; from now on in use.

    Raises UnfitCheckpoint if its files do not belong together, or are damaged.
    """
    artifact = recipe.artifact
    if not cache.use(artifact):
        return None
    # The last to be used is the last to be swept.
    with suppress(OSError):
        os.utime(artifact.path)
    return Checkpoint(artifact.path, checked(artifact.path), recipe.ports)


def describe(directory: Path, memory: int, way: str, *, mapped: bool) -> None:
    """Bind state and memory in a directory to each other, and write down what they are."""
    state = directory / STATE
    digest = _state_digest(state)
    samples: tuple[int, ...] = ()
    sampled = ""
    if mapped:
        with (directory / MEMORY).open("r+b") as file:
            file.seek(memory)
            file.write(_binding(digest))
        samples = _samples(directory / MEMORY, memory)
        sampled = _samples_digest(directory / MEMORY, samples)
    about = About(mapped, way, memory, state.stat().st_size, digest, samples, sampled)
    (directory / ABOUT).write_text(json.dumps(asdict(about), indent=1))


def checked(directory: Path) -> About:
    """What is known of a checkpoint's files, which were looked at as far as that costs nothing.

    QEMU takes any memory for any state and says that all is well.  Raises UnfitCheckpoint.
    """
    try:
        found = json.loads((directory / ABOUT).read_text())
        about = About(**{**found, "samples": tuple(found["samples"])})
        state = directory / STATE
        if (state.stat().st_size, _state_digest(state)) != (about.state_size, about.state_digest):
            raise ValueError("the state is not the one that was written")
        if about.mapped:
            _check_memory(directory / MEMORY, about)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnfitCheckpoint(
            f"checkpoint {directory.name}: {error}",
            hint=f"lab checkpoint rm {directory.name.rpartition('-')[0]} removes it; "
            "it is made again when it is needed",
        ) from error
    return about


def _check_memory(path: Path, about: About) -> None:
    if path.stat().st_size != about.memory + _PAGE:
        raise ValueError(f"the memory has {path.stat().st_size} bytes, not {about.memory + _PAGE}")
    with path.open("rb") as file:
        file.seek(about.memory)
        if file.read(_PAGE) != _binding(about.state_digest):
            raise ValueError("the memory belongs to another state")
    if _samples_digest(path, about.samples) != about.samples_digest:
        raise ValueError("the memory is not the one that was written")


def _binding(state_digest: str) -> bytes:
    """The page behind the memory."""
    return f"lab: the memory of the state {state_digest}\n".encode().ljust(_PAGE, b"\0")


def _samples(path: Path, memory: int) -> tuple[int, ...]:
    """Pages all over the memory, the most of them not empty.

    They are remembered: holes fill when they are read, on tmpfs, or in a copy.
    """
    found = []
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            at = memory // _SAMPLES * number
            with suppress(OSError):  # ENXIO: nothing but holes behind
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            found.append(at // _PAGE * _PAGE)
    return tuple(dict.fromkeys(found))


def _samples_digest(path: Path, samples: Iterable[int]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for at in samples:
            digest.update(os.pread(file.fileno(), _PAGE, at))
    return digest.hexdigest()


def _state_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_WHOLE))
        if os.fstat(file.fileno()).st_size > 2 * _WHOLE:
            file.seek(-_WHOLE, os.SEEK_END)
        digest.update(file.read(_WHOLE))
    return digest.hexdigest()
