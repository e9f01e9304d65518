# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab doctor` on a host that boots guests: what it finds, and what it cleans up."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from tests.boot.conftest import Lab, make_lab, wait_for


def link(source: str, target: str) -> None:
    """A second name for a file; a copy where it must be on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab with a cache of its own, which has what the user's has: it is going to be cleaned."""
    store = platformdirs.user_cache_path("lab") / "artifacts"
    for names in ("image/trixie-*", "kernel/debian-*", "initramfs/debian-*", "tool/busybox-*"):
        for path in store.glob(names):
            target = tmp_path / "cache/lab/artifacts" / path.relative_to(store)
            shutil.copytree(path, target, copy_function=link)
    lab = make_lab(tmp_path / "state")
    lab = Lab(lab.state, lab.env | {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    # What other versions of the lab left in the user's cache.
    lab("doctor", "--clean")
    yield lab
    lab("down", "--all", status=None)
    assert lab.leftovers() == []


def examined(lab: Lab) -> dict[str, dict[str, Any]]:
    document = json.loads(lab("doctor", "--json").stdout)
    return {check["name"]: check for check in document["checks"]}


def cleaned(lab: Lab) -> tuple[dict[str, str | None], int]:
    """Why each leftover was kept, by what it is (without keys), and what was freed."""
    document = json.loads(lab("doctor", "--clean", "--json").stdout)
    rows = {" ".join(one["what"].split()[:2]): one["kept"] for one in document["leftovers"]}
    return rows, document["freed"]


def test_a_host_that_boots_guests_is_fit(own: Lab) -> None:
    found = examined(own)
    for name in ("QEMU", "devices", "faults", "mmdebstrap", "namespaces", "erofs", "depmod", "ssh"):
        assert found[name]["state"] == "ok", found[name]
    assert found["vhost-vsock"]["state"] in ("ok", "degraded")
    assert found["QEMU"]["versions"]["QEMU"] in found["QEMU"]["said"]
    # KVM is what guests really get.
    own("up", "nvme-copy", "--name", "judge")
    assert (own.ls()["judge"]["accelerator"] == "kvm") == (found["KVM"]["state"] == "ok")
    own("down", "judge")
    said = own("doctor", env={"COLUMNS": "80"}).stdout
    assert max(map(len, said.splitlines())) <= 80


def test_a_killed_qemu_is_told_and_cleaned_up(own: Lab) -> None:
    own("up", "nvme-copy")
    assert examined(own)["dead guests"]["state"] == "ok"
    assert cleaned(own) == ({}, 0)
    os.kill(own.ls()["nvme-copy"]["pid"], signal.SIGKILL)
    wait_for(lambda: own.ls()["nvme-copy"]["state"] == "died", "the end of QEMU")
    found = examined(own)["dead guests"]
    assert found["state"] == "degraded"
    assert found["said"].endswith(": guest nvme-copy, which died")
    assert found["cure"]["debian"] == "lab doctor --clean"
    kept, freed = cleaned(own)
    assert kept == {"guest nvme-copy,": None}
    assert freed > 0
    assert own.leftovers() == []
    assert own.ls() == {}


def test_a_superseded_kernel_is_removed_when_no_guest_runs_it(own: Lab, tmp_path: Path) -> None:
    store = tmp_path / "cache/lab/artifacts/kernel"
    # Not debian-sid's, which the user may have as well.
    (debian,) = store.glob(f"debian-{16 * '[0-9a-f]'}")
    release = (debian / "release").read_text().strip()
    image, modules = tmp_path / "vmlinux", tmp_path / release
    shutil.copy(debian / "vmlinux", image)
    unpack = ["fsck.erofs", f"--extract={modules}", str(debian / "modules.erofs")]
    assert os.spawnvp(os.P_WAIT, unpack[0], unpack) == 0
    own("kernel", "add", "mine", "--image", str(image), "--modules", str(modules))
    # Without a checkpoint, whose maker would use it as well.
    cold = ("up", "nvme-copy", "--kernel", "mine", "--boot", "cold")
    own(*cold, deadline=900)
    (old,) = store.glob("mine-*")
    assert cleaned(own) == ({}, 0)

    # As if it were compiled anew.
    os.utime(image)
    own("kernel", "build", "mine")
    (new,) = set(store.glob("mine-*")) - {old}
    kept, _ = cleaned(own)
    assert kept == {"kernel mine": "in use", "initramfs mine": None}
    assert own("ssh", "nvme-copy", "--", "uname", "-r").stdout.strip() == release
    assert examined(own)["old artifacts"]["said"] == "none but 1 in use"

    own("down", "nvme-copy")
    found = examined(own)["old artifacts"]
    assert found["state"] == "degraded"
    assert f"kernel mine {old.name.rpartition('-')[2]}" in found["said"]
    kept, freed = cleaned(own)
    assert kept == {"kernel mine": None}
    assert freed > 10e6
    assert not old.exists()
    assert new.exists()
    assert debian.exists()
    # All that is left is still of use.
    own(*cold, deadline=900)
