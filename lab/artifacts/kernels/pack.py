# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a kernel's artifact, wherever the kernel came from."""

import shutil
from pathlib import Path

from lab.artifacts import initramfs, modules, vmlinux
from lab.host.command import run

NODES = "modules.devname"
"""The list of device nodes that are there before their modules (kmod, man 5 modules.devname)."""


def inputs() -> dict[str, str]:
    """What packing adds to every kernel's key."""
    return {
        "early": repr(initramfs.module_lists()),
        "unused": " ".join(modules.UNUSED),
        "nodes": NODES,
    }


def pack(directory: Path, image: bytes, base: Path, release: str) -> None:
    """Fill an artifact from a kernel image (ELF or bzImage) and base/lib/modules/RELEASE.

    `base` is used up.  A kernel with everything built in has a tree with nothing but the list of
    that, which is what tells modprobe in the guest.  Raises HostError.
    """
    tree = base / "lib/modules" / release
    for unused in modules.UNUSED:
        shutil.rmtree(tree / unused, ignore_errors=True)
    modules.unpack(tree)
    modules.index(base, release)
    _keep_early(tree, directory / "early")
    run(
        ["mkfs.erofs", "-zlz4", "--quiet", "--all-root", directory / "modules.erofs", tree],
        deadline=300,
    )
    (directory / "vmlinux").write_bytes(vmlinux.bootable(image))
    (directory / "release").write_text(release + "\n")
    shutil.rmtree(base)


def _keep_early(tree: Path, early: Path) -> None:
    """Copy the modules of the initramfs, the lists of their load order, and that of the device
    nodes, out of the tree."""
    early.mkdir()
    shutil.copy(tree / NODES, early)
    for name, (needed, optional) in initramfs.module_lists().items():
        order = modules.load_order(tree, needed, optional)
        for module in order:
            shutil.copy(module, early)
        (early / name).write_text("".join(f"{module.name}\n" for module in order))
