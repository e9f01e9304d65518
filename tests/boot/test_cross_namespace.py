# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies from one namespace to another, on a kernel with a patch of the lab that lets them.

It compiles a kernel, which takes a quarter of an hour and more, so it is run when
LAB_KERNEL_SOURCE names sources, such as /usr/src/linux-source-7.2.tar.xz of Debian's package.
"""

import json
import os

import pytest

from tests import ROOT
from tests.boot.conftest import Lab
from tests.boot.test_qemus import lab11

__all__ = ["lab11"]

needs_sources = pytest.mark.skipif(
    "LAB_KERNEL_SOURCE" not in os.environ, reason="LAB_KERNEL_SOURCE is not set"
)

ACTIONS = "resume,eio,torn,power-cut"
COPY = ["nvme-copy", "--serial", "LABNVME0", "--nsid", "2", "--source", "1", "--to", "0", "0+64"]


@pytest.fixture(scope="module")
def behavior(lab11: Lab) -> str:
    """The name of a kernel that lets user space set Host Behavior Support."""
    lab11(
        *("kernel", "add", "behavior", "--source", os.environ["LAB_KERNEL_SOURCE"]),
        *("--series", str(ROOT / "images/kernel/patches")),
        *("--config", str(ROOT / "tests/fixtures/kernel/lean.config")),
        deadline=600,
    )
    lab11("kernel", "build", "behavior", deadline=7200)
    return "behavior"


@needs_sources
def test_copies_between_namespaces_are_the_device_s_and_hold(lab11: Lab, behavior: str) -> None:
    done = lab11(
        *("run", "nvme-cross-namespace", "copy-faults", "--kernel", behavior, "--qemu", "q11"),
        # A read that fails ends QEMU 11.1.3 (docs/findings.md).
        *("--json", "--", "--ranges", "2", "--points", "write", "--actions", ACTIONS),
        deadline=900,
    )
    document = json.loads(done.stdout)
    assert document["path"] == "nvme-cross-ns"
    found = {(case["action"], case["verdict"]) for case in document["cases"]}
    assert found == {(action, "holds") for action in ("rehearsal", *ACTIONS.split(","))}


@needs_sources
def test_a_reset_of_the_controller_does_not_end_them(lab11: Lab, behavior: str) -> None:
    """The device forgets then that it may."""
    name = "across"
    lab11(
        *("up", "nvme-cross-namespace", "--name", name, "--kernel", behavior, "--qemu", "q11"),
        deadline=300,
    )
    try:
        for before in ((), ("nvme", "reset", "/dev/nvme0")):
            if before:
                lab11("ssh", name, "--", *before)
            done = lab11("ssh", name, "--", *COPY)
            assert json.loads(done.stdout)["status"] == 0
    finally:
        lab11("down", name)
