# SPDX-License-Identifier: GPL-2.0-or-later
"""64 namespaces on one controller and 30 disks: found by serial, each its own, all working.

Half a minute's boot on a quiet host without KVM, and another half for the verification: LAB_MANY=1.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.boot.conftest import Lab, booted, verified

pytestmark = pytest.mark.skipif("LAB_MANY" not in os.environ, reason="LAB_MANY is not set")

NAMESPACES = 64
DISKS = [f"BLK{n:02}" for n in range(15)] + [f"SCSI{n:02}" for n in range(15)]

MANY = f"""\
description: 64 namespaces on one controller, and 30 disks
guest: {{boot_deadline: 10m}}
devices:
- type: nvme
  serial: MANY
  namespaces: [{", ".join(f"{{size: {1024 + n}K}}" for n in range(NAMESPACES))}]
""" + "".join(
    f"- {{type: {'virtio-blk' if name.startswith('BLK') else 'virtio-scsi'}, serial: {name}, "
    f"size: {2048 + at}K}}\n"
    for at, name in enumerate(DISKS)
)


@pytest.fixture(scope="module")
def many(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A guest with MANY."""
    yield from booted(lab, tmp_path_factory.mktemp("profile"), "many", MANY)


def test_each_name_leads_to_the_disk_of_that_size(lab: Lab, many: dict[str, Any]) -> None:
    sizes = {part["name"]: part["size"] for part in many["stack"] if part["status"] == "up"}
    wanted = {f"MANY:{n + 1}": (1024 + n) << 10 for n in range(NAMESPACES)}
    wanted |= {name: (2048 + at) << 10 for at, name in enumerate(DISKS)}
    assert sizes == wanted
    listed = lab(
        "ssh", "many", "--", "for f in /dev/lab/*; do echo $f; blockdev --getsize64 $f; done"
    )
    words = listed.stdout.split()
    found = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert found == {f"/dev/lab/{name}": size for name, size in wanted.items()}


def test_all_of_them_can_be_written_read_and_copied(lab: Lab, many: dict[str, Any]) -> None:
    found = verified(lab, "many")
    assert len(found) == NAMESPACES + len(DISKS) and set(found.values()) == {"holds"}
