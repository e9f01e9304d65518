# SPDX-License-Identifier: GPL-2.0-or-later
"""What a path is that somebody gives for a kernel."""

from pathlib import Path

from lab.artifacts import formats
from lab.artifacts.formats import Kind
from lab.artifacts.kernels import root, tree
from lab.artifacts.kernels.archive import Archive
from lab.artifacts.kernels.image import IMAGE_KINDS
from lab.artifacts.kernels.source import ForeignKernel, KernelSource, head, permitted
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import UsageError

_RPM = (
    "unpack it, and that of its modules, into one directory and give that: "
    "rpm2cpio FILE | cpio -idm"
)


def at(path: Path) -> KernelSource:
    """The kernel that a file or directory is.

    A built tree or an image in it; an image with its modules nearby; .deb files, the tar file of
    `make tarxz-pkg`, what tuxmake and KernelCI leave, /lib/modules/RELEASE.  Raises UsageError,
    saying what it is instead and what to do.
    """
    path = path.absolute()
    with permitted():
        return _directory(path) if path.is_dir() else _file(path)


def _directory(path: Path) -> KernelSource:
    if (path / tree.RELEASE).is_file() or (path / "Kbuild").is_file():
        return KernelTree(tree=path)
    try:
        return root.kernel_in(path)
    except UsageError:
        # With the words for a tree, unless something else of a kernel is there.
        if root.looks_like_one(path):
            raise
        return KernelTree(tree=path)


def _file(path: Path) -> KernelSource:
    form = formats.of(head(path))
    if form.kind in (Kind.DEB, Kind.TAR) or _is_tar(path):
        return Archive(archive=path)
    built = _tree_of(path)
    if built and form.kind in IMAGE_KINDS:
        return KernelTree(tree=built)
    if form.kind not in IMAGE_KINDS:
        hint = _RPM if form.words == "an RPM" else ""
        raise ForeignKernel(f"{path}: {form.refusal}", hint=hint)
    return root.of_image(path)


def _is_tar(path: Path) -> bool:
    return ".tar" in path.suffixes[-2:] or path.suffix in (".tgz", ".txz", ".tzst")


def _tree_of(path: Path) -> Path | None:
    """The built tree that an image lies in, as vmlinux or arch/ARCH/boot/NAME."""
    places = [path.parent]
    if path.parts[-4:-3] == ("arch",):
        places.append(path.parents[3])
    return next((place for place in places if (place / tree.RELEASE).is_file()), None)
