# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs need, what hosts offer, and when a worker begins nothing; no database is needed."""

import shutil
import sys
from pathlib import Path

import pytest
from pydantic import ByteSize

from lab import cli
from lab.errors import UsageError
from lab.farm.hosts import gate
from lab.farm.hosts.needs import BESIDE, Needs, Offer, needs_of, refusals
from lab.farm.hosts.offer import offer
from lab.host import burden, dirs
from lab.host.settings import WorkerSettings
from lab.profile.load import load
from lab.profile.models import Profile
from tests import ROOT

GIB = 1 << 30
OFFER = Offer(
    version="1", memory=4 * GIB, labels=("bigmem", "kvm"), devices=("/dev/sdb", "0000:01:00.0"),
    trees=("fstests",), paths=("kernel offload",), depot=True,
)  # fmt: skip


def profile_with(tmp_path: Path, *devices: str) -> Profile:
    path = tmp_path / "mine.yaml"
    path.write_text("description: a server\ndevices:\n" + "".join(devices))
    return load(str(path))


def test_a_profile_needs_its_memory_and_the_devices_of_the_host(tmp_path: Path) -> None:
    found = needs_of(
        profile_with(
            tmp_path,
            "  - {type: host-block, path: /dev/sdb, serial: A, overwrite: A}\n",
            "  - {type: host-nvme, address: '0000:01:00.0', serial: B, overwrite: B}\n",
        ),
        ["kvm", "bigmem"], ["fstests"], ["kernel offload"],
    )  # fmt: skip
    assert found == Needs(
        memory=GIB + BESIDE, cpus=2, labels=("bigmem", "kvm"),
        devices=("/dev/sdb", "0000:01:00.0"), trees=("fstests",), paths=("kernel offload",),
    )  # fmt: skip
    assert list(refusals(found, OFFER, "1")) == []


def test_a_peer_needs_memory_too() -> None:
    alone, both = (needs_of(load(name), [], [], []) for name in ("nvme-copy", "nvmet-tcp"))
    assert both.memory >= 2 * alone.memory
    assert both.cpus == 2 * alone.cpus


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": 5 * GIB}, "5.0 GiB of memory needed, it has 4.0 GiB"),
        ({"labels": ("nvme-hw",)}, "no label nvme-hw"),
        ({"devices": ("/dev/sdc",)}, "no device /dev/sdc"),
        ({"trees": ("blktests",)}, "no built tree of blktests"),
        ({"paths": ("QEMU q11",)}, "no QEMU q11"),
    ],
)
def test_why_a_host_cannot(change: dict[str, object], said: str) -> None:
    needs = Needs(memory=GIB, cpus=2).model_copy(update=change)
    assert list(refusals(needs, OFFER, "1")) == [said]


def test_another_version_is_a_reason() -> None:
    assert list(refusals(Needs(memory=1, cpus=1), OFFER, "2")) == ["its lab is 1, the night's 2"]


def test_documents_come_back_as_they_were() -> None:
    needs = Needs(memory=1, cpus=2, labels=("a",), kernel="k-1")
    assert Needs.model_validate(needs.model_dump(mode="json")) == needs
    assert Offer.model_validate(OFFER.model_dump(mode="json")) == OFFER


def host(root: Path) -> Path:
    """A host's /proc, /sys and /dev, as far as they are looked at."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\n")
    (root / "proc/self/cgroup").write_text("0::/user\n")
    (root / "proc/loadavg").write_text("3.50 1.00 0.50 1/100 4242\n")
    group = root / "sys/fs/cgroup/user"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{4 * GIB}\n")
    (group / "memory.current").write_text(f"{GIB}\n")
    for name, kind in (("0000:01:00.0", "0x010802"), ("0000:02:00.0", "0x020000")):
        (root / "sys/bus/pci/devices" / name).mkdir(parents=True)
        (root / "sys/bus/pci/devices" / name / "class").write_text(f"{kind}\n")
    (root / "sys/block/sdb").mkdir(parents=True)
    (root / "dev/disk/by-id").mkdir(parents=True)
    (root / "dev/sdb").touch()
    (root / "dev/disk/by-id/ata-X").symlink_to("../../sdb")
    (root / "dev/disk/by-id/ata-X-part1").symlink_to("../../sdb1")
    return root


def test_what_a_host_offers(tmp_path: Path) -> None:
    root = host(tmp_path / "host")
    tree = tmp_path / "xfstests"
    tree.mkdir()
    settings = dirs.config("config.yaml")
    settings.parent.mkdir(parents=True)
    settings.write_text(f"suites: {{fstests: {{tree: {tree}}}, blktests: {{tree: /no/such}}}}\n")
    found = offer(["bigmem"], kvm=True, root=root)
    assert found.memory == 4 * GIB
    assert found.labels == ("bigmem", "kvm")
    assert found.devices == ("/dev/disk/by-id/ata-X", "/dev/sdb", "0000:01:00.0")
    assert found.trees == ("fstests",)
    assert offer([], kvm=False, root=root).labels == ()


def test_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    root = host(tmp_path)
    assert burden.available_memory(root) == 3 * GIB
    assert burden.load(root) == 3.5


BUSY = WorkerSettings(load=1.0, memory=ByteSize(GIB), disk=ByteSize(GIB))


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A host with nothing to do."""
    monkeypatch.setattr(burden, "load", lambda: 0.2)
    monkeypatch.setattr(burden, "processors", lambda: 2)
    monkeypatch.setattr(burden, "available_memory", lambda: 8 * GIB)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=50 * GIB))
    return monkeypatch


def test_a_quiet_host_begins_runs(quiet: pytest.MonkeyPatch) -> None:
    assert gate.closed(BUSY, []) == ""


def test_a_loaded_host_begins_none_and_its_own_guests_are_no_load(
    quiet: pytest.MonkeyPatch,
) -> None:
    quiet.setattr(burden, "load", lambda: 4.4)
    own = Needs(memory=GIB, cpus=2)
    assert gate.closed(BUSY, []) == "load of others 2.2 for each processor, more than 1"
    assert gate.closed(BUSY, [own]) == "load of others 1.2 for each processor, more than 1"
    assert gate.closed(BUSY, [own, own]) == ""


def test_a_host_short_of_memory_begins_none(quiet: pytest.MonkeyPatch) -> None:
    quiet.setattr(burden, "available_memory", lambda: 2 * GIB - 1)
    assert gate.closed(BUSY, []) == "2047 MiB of memory available, less than 2048"


def test_a_host_short_of_disk_begins_none_and_what_fails_there_is_its_fault(
    quiet: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage("/")
    quiet.setattr(shutil, "disk_usage", lambda _: usage._replace(free=GIB - 1))
    said = gate.closed(BUSY, [])
    assert said == gate.starved(BUSY) == f"1023 MiB free in {dirs.state()}, less than 1024"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["worker"], "LAB_STORE: the store is no PostgreSQL"),
        (["worker", "--name", "a/b"], "no name for a worker: a/b"),
        (["nightly", "--watch"], "LAB_STORE: the store is no PostgreSQL"),
        (["nightly", "--stop"], "LAB_STORE: the store is no PostgreSQL"),
        (["nightly", "--stop", "--watch"], "--watch and --stop: one of them"),
        (["nightly"], "which PLAN?"),
        (["nightly", "examples/night.yaml", "--watch"], "the store is no PostgreSQL"),
        (["host", "add", "a", "b@c"], "LAB_STORE: the store is no PostgreSQL"),
        (["host", "check", "a"], "no host a"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    monkeypatch.chdir(ROOT)
    with pytest.raises(UsageError) as caught:
        cli._invoke()
    assert said in str(caught.value)
