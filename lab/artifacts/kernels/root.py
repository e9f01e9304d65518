# SPDX-License-Identifier: GPL-2.0-or-later
"""Where kernels lie below a directory that is laid out as a system, or that a build left."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.artifacts import formats
from lab.artifacts.kernels.image import BUILT_IN, IMAGE_KINDS, KernelImage, release_of, trees_in
from lab.artifacts.kernels.source import ForeignKernel, head
from lab.errors import UsageError

_IMAGES = ("vmlinuz*", "bzImage*", "vmlinux*", "*.efi")
"""In the order of preference: what boots anywhere first."""

_OTHERS = ("Image*", "zImage*", "uImage*")
"""Names that kernels for other machines have."""

_MODULES = ("modules.tar*", "modules-*.tar*")


def kernel_in(root: Path) -> KernelImage:
    """The one kernel below `root`: a system (boot, lib/modules), an unpacked package, what tuxmake
    or KernelCI leave (bzImage, config, modules.tar.xz), a directory /lib/modules/RELEASE with a
    kernel in it.  Raises UsageError when there is none, or more than one."""
    trees = [root] if (root / BUILT_IN).is_file() else trees_in(root)
    found = [kernel for tree in trees if (kernel := _of_tree(root, tree))]
    # Without modules of its own it is a boot directory, or a build's output.
    found = found or [of_image(image) for image in _distinct(images_in(root))]
    if len(found) > 1:
        names = ", ".join(str(kernel.image) for kernel in found)
        raise UsageError(f"{root}: several kernels", hint=f"name one: {names}")
    if found:
        return found[0]
    for path in _candidates(root, trees):
        form = formats.of(head(path))
        if form.named:
            raise ForeignKernel(f"{path}: {form.refusal}")
    lacking = f"no kernel image for {trees[0].name}" if trees else "no kernel in it"
    raise UsageError(f"{root}: {lacking}", hint="a built tree, or a directory of image and modules")


def looks_like_one(root: Path) -> bool:
    """Whether anything below `root` has to do with a kernel that is installed or packed."""
    trees = trees_in(root)
    return bool(trees) or (root / BUILT_IN).exists() or any(_candidates(root, trees))


def modules_of(image: Path) -> Path | None:
    """The modules of a kernel image, where builds and systems have them; None if there are none."""
    release = release_of(image)
    places = [image.parent, image.resolve().parent]
    for place in places:
        if (place / BUILT_IN).is_file():
            return place
    if packed := modules_beside(image):
        return packed
    # As in a system, below what `make install INSTALL_PATH=` was given, and NixOS's own way.
    roots = [root for place in places for root in (place, place.parent)]
    roots += [place / "kernel-modules" for place in places]
    # A unified kernel image in EFI/Linux of the ESP, which a system has at /efi or /boot/efi.
    roots += [up for place in image.parents if place.name.upper() == "EFI" for up in place.parents]
    for root in roots:
        trees = trees_in(root)
        if release:
            trees = [tree for tree in trees if tree.name == release]
        if len(trees) == 1:
            return trees[0]
    return None


def modules_beside(image: Path) -> Path | None:
    """The tar file of modules in the directory of an image."""
    found = [path for pattern in _MODULES for path in sorted(image.parent.glob(pattern))]
    return next((path for path in found if path.is_file()), None)


def config_beside(image: Path, release: str) -> Path | None:
    """The configuration that lies in the directory of an image."""
    # What `make install` writes; tuxmake's, Fedora's and Debian's; KernelCI's.
    names = [f"config-{release}", "config", ".config", "kernel.config"]
    found = (image.parent / name for name in names)
    return next((path for path in found if path.is_file()), None)


def no_modules(image: Path, release: str) -> UsageError:
    """The error for an image whose modules are nowhere near."""
    return UsageError(
        f"{image}: the modules of {release or 'this kernel'} are not beside it, and they tell what "
        "is built in, too",
        hint=f"lab kernel add NAME --image {image} --modules DIRECTORY, which make modules_install "
        "INSTALL_MOD_PATH=… made",
    )


def images_in(directory: Path) -> list[Path]:
    """The kernel images in a directory, the best first."""
    found = [path for pattern in _IMAGES for path in sorted(directory.glob(pattern))]
    return [path for path in found if path.is_file() and _is_kernel(path)]


def _distinct(images_found: Sequence[Path]) -> list[Path]:
    """The images of different kernels, the best of each; one that tells no release is the same
    kernel as another that does."""
    releases = {path: release_of(path) for path in images_found}
    known = {release: path for path, release in reversed(releases.items()) if release}
    return [path for path in images_found if path in known.values()] or list(images_found[:1])


def of_image(image: Path) -> KernelImage:
    """An image with its modules, wherever they are.  Raises UsageError if they are nowhere near."""
    release = release_of(image)
    modules = modules_of(image)
    if modules is None:
        raise no_modules(image, release)
    return KernelImage(image=image, modules=modules, config=config_beside(image, release))


def _candidates(root: Path, trees: Sequence[Path]) -> Iterator[Path]:
    """Files below `root` that are called as kernels are, whatever they are for."""
    for place in (root, root / "boot", *trees):
        for pattern in (*_IMAGES, *_OTHERS):
            yield from (path for path in sorted(place.glob(pattern)) if path.is_file())


def _of_tree(root: Path, tree: Path) -> KernelImage | None:
    """The kernel of a directory of modules: in it, or in the system that it is a part of."""
    release = tree.resolve().name
    image = next(iter(images_in(tree)), None)
    for place in dict.fromkeys((root / "boot", root, *_boots(tree))):
        # By name first: of others' images, which only root may read, nothing is read then.
        image = image or next((path for path in _named(place, release) if path.is_file()), None)
        image = image or next((path for path in images_in(place) if _fits(path, release)), None)
    if image is None:
        return None
    config = config_beside(image, release) or config_beside(tree / BUILT_IN, release)
    return KernelImage(image=image, modules=tree, config=config)


def _boots(tree: Path) -> list[Path]:
    """Where a system that has these modules in lib/modules or usr/lib/modules keeps kernels."""
    names = [path.name for path in tree.parents]
    if names[:2] != ["modules", "lib"]:
        return []
    return [tree.parents[3 if names[2:3] == ["usr"] else 2] / "boot"]


def _named(place: Path, release: str) -> list[Path]:
    return [place / f"{name}-{release}" for name in ("vmlinuz", "bzImage", "vmlinux")]


def _fits(image: Path, release: str) -> bool:
    return release_of(image) in ("", release)


def _is_kernel(path: Path) -> bool:
    return formats.of(head(path)).kind in IMAGE_KINDS
