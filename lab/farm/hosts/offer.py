# SPDX-License-Identifier: GPL-2.0-or-later
"""What this host has that runs may need."""

import os
from collections.abc import Iterable
from pathlib import Path

from lab import __version__
from lab.artifacts.depot import VARIABLE as DEPOT
from lab.artifacts.kernels.names import BOOK as KERNELS
from lab.artifacts.qemus.names import BOOK as QEMUS
from lab.farm.hosts.needs import Offer
from lab.host import burden, dirs, settings

KVM = "kvm"
"""The label of hosts on which KVM runs a kernel."""

HOST = Path("/")
_NVME = "0x010802"
"""The class of PCI NVMe controllers (PCI Code and ID Assignment, 1.9)."""


def offer(labels: Iterable[str], *, kvm: bool, root: Path = HOST) -> Offer:
    """What this host offers; `labels` are what its user says of it."""
    trees = settings.load().suites
    return Offer(
        version=__version__,
        memory=burden.total_memory(root),
        labels=tuple(sorted({*labels, *([KVM] if kvm else [])})),
        devices=(*_disks(root), *_controllers(root)),
        trees=tuple(
            name for name in type(trees).model_fields
            if (tree := getattr(trees, name).tree) and tree.is_dir()
        ),
        paths=(
            *(f"kernel {name}" for name in KERNELS.added()),
            *(f"QEMU {name}" for name in QEMUS.added()),
            *(f"profile {path.stem}" for path in sorted(dirs.config("profiles").glob("*.yaml"))),
        ),
        depot=bool(os.environ.get(DEPOT)),
    )  # fmt: skip


def _disks(root: Path) -> list[str]:
    """Whole disks by all their names."""
    names = {f"/dev/{path.name}" for path in (root / "sys/block").glob("*")}
    links = [
        f"/{path.relative_to(root)}"
        for path in (root / "dev/disk").glob("by-*/*")
        if str(path.resolve()).replace(str(root).rstrip("/"), "", 1) in names
    ]
    return sorted({*names, *links})


def _controllers(root: Path) -> list[str]:
    """NVMe controllers by their PCI addresses."""
    return sorted(
        path.parent.name
        for path in (root / "sys/bus/pci/devices").glob("*/class")
        if path.read_text().strip() == _NVME
    )
