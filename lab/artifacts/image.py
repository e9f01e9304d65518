# SPDX-License-Identifier: GPL-2.0-or-later
"""Images: the root file system of guests, as one read-only erofs made from a YAML definition."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lab import share, yamlfile
from lab.artifacts import cache, debian
from lab.artifacts.cache import Artifact, Progress
from lab.errors import ProfileError, UsageError
from lab.host import dirs

KIND = "image"
FORMAT = 1
"""Part of every image's key; raise it when this module builds differently."""

ROOM = 2 << 30
"""Bytes free before a build: the image, and the unpacked tree if both share a file system."""

_HOST_KEYS = "rm -f /etc/ssh/ssh_host_*"
"""Each guest gets a host key of its own."""

_POWER = "for name in poweroff reboot halt; do ln -sf /run/lab/busybox /usr/sbin/$name; done"
"""Without systemd nothing else has these; pid 1 is busybox and understands its own."""

_LEFT_OUT = "^(dev|proc|run|sys|tmp|var/cache/apt|var/lib/apt/lists)/.+"
"""Regular expression: the content of mount points, and what apt downloaded."""


class Definition(BaseModel):
    """One images/NAME.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    suite: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    packages: list[str] = Field(min_length=1)
    exclude: list[str] = []
    setup: list[str] = []


_ANYTHING = TypeAdapter(object)
"""What another definition may lie under cannot be judged alone."""


@dataclass(frozen=True)
class Image:
    """A built image."""

    name: str
    root: Path
    """The erofs, for a read-only disk."""


def definitions() -> dict[str, Path]:
    """Definition files by name: the user's own, then those that ship."""
    found: dict[str, Path] = {}
    for directory in (share.directory("images"), dirs.config("images")):
        found.update((path.stem, path) for path in sorted(directory.glob("*.yaml")))
    return found


def load(path: Path) -> Definition:
    """Read a definition, laid over those that it extends.

    Raises ProfileError naming the file and the key that is wrong.
    """
    try:
        return Definition.model_validate(_extended(path, ()))
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc'])) or 'top level'}: {item['msg']}"
            for item in error.errors()
        ]
        raise ProfileError(f"{path}: {wrong[0]}", detail="\n".join(wrong[1:])) from error


def _extended(path: Path, over: tuple[Path, ...]) -> object:
    """What the file says, its lists behind those of the definition that it extends; `over` are
    the files that led here."""
    own = yamlfile.read(path, _ANYTHING)
    if not isinstance(own, dict) or "extends" not in own:
        return own
    base = _extended(_base(own.pop("extends"), path, over), (*over, path))
    if not isinstance(base, dict):
        return base
    added = {
        key: [*base[key], *value]
        for key, value in own.items()
        if isinstance(value, list) and isinstance(base.get(key), list)
    }
    return {**base, **own, **added}


def _base(name: object, path: Path, over: tuple[Path, ...]) -> Path:
    """The definition file called `name`, which the one at `path` extends."""
    known = definitions()
    if not isinstance(name, str) or name not in known:
        raise ProfileError(
            f"{path}: extends: no image is called {name!r}", hint=f"known: {', '.join(known)}"
        )
    if known[name] in (*over, path):
        raise ProfileError(
            f"{path}: extends: {name} leads back here", hint="let it extend another definition"
        )
    return known[name]


def ensure_image(name: str, progress: Progress) -> Image:
    """Return the image `name`, building it on first use (a minute and a network).

    Raises UsageError for an unknown name, ProfileError for a wrong definition, HostError when
    the host cannot build.
    """
    known = definitions()
    if name not in known:
        raise UsageError(f"no image {name}", hint=f"known: {', '.join(known)}")
    definition = load(known[name])

    def build(directory: Path) -> dict[str, str]:
        progress(f"image {name}: packages")
        return _build(definition, directory, scratch=f"image-{name}")

    artifact = cache.ensure(KIND, name, _inputs(definition), build, progress, room=ROOM)
    return Image(name, root_of(artifact))


def superseded() -> list[Artifact]:
    """What is built of images that are defined otherwise by now, or not at all."""
    known = definitions()
    return [one for one in cache.listing(KIND) if not _current(one, known.get(one.name))]


def _current(artifact: Artifact, definition: Path | None) -> bool:
    """Whether an image of that definition would be this artifact."""
    if definition is None:
        return False
    try:
        inputs = _inputs(load(definition))
    except ProfileError:
        return True  # Nobody knows yet what it will be.
    return cache.address(KIND, artifact.name, inputs) == artifact


def _inputs(definition: Definition) -> dict[str, str]:
    return {
        "definition": definition.model_dump_json(),
        "format": str(FORMAT),
        "commands": "\n".join(_commands(definition)),
    }


def root_of(artifact: Artifact) -> Path:
    """The erofs in an image's artifact."""
    return artifact.path / "root.erofs"


def _build(definition: Definition, directory: Path, scratch: str) -> dict[str, str]:
    options = [
        "--variant=minbase",
        f"--include={','.join(definition.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in definition.exclude),
        *(f"--customize-hook={command}" for command in _commands(definition)),
        f"--customize-hook=download /tmp/root.erofs {directory / 'root.erofs'}",
        f"--customize-hook=download /tmp/packages {directory / 'packages'}",
    ]
    debian.mmdebstrap(options, definition.suite, None, scratch=scratch)
    packages = (directory / "packages").read_text().splitlines()
    return dict(line.split() for line in packages if line.split()[0] in definition.packages)


def _commands(definition: Definition) -> list[str]:
    """Hooks in the finished root.  The erofs is made there, where its owners are still right."""
    return [
        *(f'chroot "$1" sh -ec {shlex.quote(c)}' for c in (*definition.setup, _HOST_KEYS, _POWER)),
        'chroot "$1" dpkg-query -W -f \'${Package} ${Version}\\n\' >"$1/tmp/packages"',
        # Keeps each file's time: Python throws away compiled modules whose time does not match.
        # No extended attributes (-x-1): mkfs would look for them in the mounted /proc too.
        "mkfs.erofs -zlz4 -x-1 --preserve-mtime --quiet"
        f" '--exclude-regex={_LEFT_OUT}'"
        ' "$1/tmp/root.erofs" "$1"',
    ]
