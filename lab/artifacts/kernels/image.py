# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that is installed or packed somewhere: an image, its modules, its configuration."""

import shutil
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Literal

from lab.artifacts import formats, modules, vmlinux
from lab.artifacts.cache import Progress
from lab.artifacts.formats import Kind
from lab.artifacts.kernels import external
from lab.artifacts.kernels.pack import pack
from lab.artifacts.kernels.source import ForeignKernel, KernelSource, head, identity, readable
from lab.errors import HostError, UsageError
from lab.host.command import run

IMAGE_KINDS = (Kind.BZIMAGE, Kind.ELF, Kind.UKI, Kind.PACKED)

BUILT_IN = "modules.builtin"


class KernelImage(KernelSource):
    """A kernel image (bzImage, ELF, unified kernel image) and its modules as they are installed,
    in a directory or in a tar file."""

    type: Literal["image"] = "image"
    image: Path
    modules: Path
    """The directory named as the release, such as /lib/modules/6.12.0, or a tar file of it."""
    config: Path | None = None

    @property
    def summary(self) -> str:
        return readable(self.image)

    def inputs(self, progress: Progress) -> dict[str, str]:
        if not self.image.is_file():
            raise UsageError(f"{self.image}: no such kernel image")
        form = formats.of(head(self.image))
        if form.kind not in IMAGE_KINDS:
            raise ForeignKernel(f"{self.image}: {form.refusal}")
        if self.modules.is_file():
            head(self.modules)
        elif not (self.modules / BUILT_IN).is_file():
            raise UsageError(
                f"{self.modules}: no directory of modules, {BUILT_IN} is missing",
                hint="name the one that make modules_install made, such as lib/modules/6.12.0",
            )
        files = (self.image, *([self.config] if self.config else []), *sorted(_files(self.modules)))
        return {"image": str(self.image), "files": "\n".join(map(identity, files))}

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        progress("modules")
        scratch = directory / "scratch"
        tree = _unpacked(self.modules, scratch) if self.modules.is_file() else self.modules
        image = self.image.read_bytes()
        release = tree.resolve().name
        built = image_release(image)
        if built and built != release:
            raise HostError(
                f"{self.image} is kernel {built}, but its modules are those of {release}",
                hint="name the directory of its own modules",
            )
        base = directory / "base"
        lost = modules.gather(tree, base / "lib/modules" / release)
        if lost:
            progress(f"{len(lost)} links among the modules lead nowhere, such as {lost[0]}")
        (directory / "config").write_bytes(self.config.read_bytes() if self.config else b"")
        pack(directory, image, base, release)
        shutil.rmtree(scratch, ignore_errors=True)
        return {"release": release, "left_out": "\n".join(lost)}

    def build_module(self, name: str, sources: Path, release: str, progress: Progress) -> None:
        # What modules_install and packages of headers leave there.
        headers = self.modules / "build"
        if not (headers / "Makefile").is_file():
            super().build_module(name, sources, release, progress)
        external.by_tree(headers, sources, name, progress)


def image_release(image: bytes) -> str:
    """The release that a kernel names, also one that is compressed or within a unified kernel
    image; '' if none.  Raises HostError for what cannot be unpacked."""
    form = formats.of(image[: formats.HEAD])
    if form.kind is Kind.UKI:
        image = formats.section(image, ".linux") or b""
    elif form.kind in (Kind.ELF, Kind.PACKED):
        return formats.banner(vmlinux.extract(image))
    return formats.release(image[: formats.HEAD])


def release_of(path: Path) -> str:
    """The same for a file, of which no more is read than is needed; '' for a compressed one.

    Raises UsageError.
    """
    first = head(path)
    kind = formats.of(first).kind
    if kind is Kind.UKI:
        return image_release(path.read_bytes())
    if kind is Kind.ELF:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return formats.banner(content)
    return formats.release(first)


def tree_in(root: Path) -> Path | None:
    """The modules of the one kernel that has some below `root`, as lib/modules/RELEASE or
    usr/lib/modules/RELEASE.  Raises UsageError if there are those of several."""
    found = trees_in(root)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(f"{root}: modules of several kernels: {names}", hint="name the kernel")
    return found[0] if found else None


def trees_in(root: Path) -> list[Path]:
    """The directories of modules below `root`, each once."""
    places = (root / "lib/modules", root / "usr/lib/modules")
    found = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    trees: dict[Path, Path] = {}
    for path in found:
        if (path / BUILT_IN).is_file():
            trees.setdefault(path.resolve(), path)
    return list(trees.values())


def _unpacked(archive: Path, scratch: Path) -> Path:
    """Unpack modules.tar.xz and its like; the directory of the modules in it."""
    scratch.mkdir()
    run(["tar", "-xf", archive, "-C", scratch, "--no-same-owner"], deadline=300)
    if tree := tree_in(scratch):
        return tree
    raise HostError(f"{archive}: no modules in it, lib/modules/RELEASE/{BUILT_IN} is missing")


def _files(tree: Path) -> Iterator[Path]:
    if tree.is_file():
        return iter([tree])
    return (path for path in tree.rglob("*") if path.is_file())
