# SPDX-License-Identifier: GPL-2.0-or-later
"""What a profile asks for and what the kernel made of it: both ends of the reading back."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.profile.asked import asked
from lab.profile.disk import disks
from lab.profile.load import load_file
from tests.unit.test_argv import EVERY_KIND, MANY
from tests.unit.test_layers_guest import load

properties = load("properties")
disk_properties = load("disk_properties")
nvme_properties = load("nvme_properties")
nvme_command = load("nvme_command")
system = load("system")
loop = load("loop")
faulty = load("faulty")
layer = load("layer")
probe = load("probe")
stack = load("stack")


def wanted(directory: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind of each disk of a profile and what is asked of it."""
    (directory / "p.yaml").write_text(text)
    profile = load_file(directory / "p.yaml")
    for disk in disks(profile):
        yield disk.kind, asked(profile.devices[disk.device], disk.nsid)


@pytest.mark.parametrize("text", [EVERY_KIND, MANY])
def test_the_guest_can_read_whatever_the_host_asks(tmp_path: Path, text: str) -> None:
    for kind, keys in wanted(tmp_path, text):
        of_nvme = set(nvme_properties.KEYS) if kind == "nvme" else set()
        assert set(keys) <= set(disk_properties.READERS) | of_nvme


def test_every_key_that_a_guest_can_see_is_asked_for(tmp_path: Path) -> None:
    seen: set[str] = set()
    for _, keys in wanted(tmp_path, EVERY_KIND):
        seen |= set(keys)
    # Conventional zones, QEMU's namespaces have none; layers in memory do.
    known = set(disk_properties.READERS) | set(nvme_properties.KEYS)
    assert known - seen <= {"zoned.conventional", "guard"}


def test_a_namespace_that_linux_shows_with_size_0_is_asked_for_no_size(tmp_path: Path) -> None:
    (_, extended), (_, plain), *_ = wanted(tmp_path, EVERY_KIND)
    assert extended["extended"] and "size" not in extended and "block_size" not in extended
    assert plain["size"] == 64 << 20


def test_what_is_as_asked_is_told_and_what_differs_is_refused() -> None:
    right = properties.Asked("block_size", 512, 512, "here")
    wrong = properties.Asked("size", 64 << 20, 0, "there", "another kernel")
    other = properties.Asked("direct_io", True, False, "there", "another kernel")
    assert properties.check([right]) == [
        {"key": "block_size", "asked": 512, "made": 512, "where": "here"}
    ]
    with pytest.raises(system.Failure) as caught:
        properties.check(iter([right, wrong, other]))
    assert caught.value.said == (
        "size: 64M asked, the kernel made it 0 (there); "
        "direct_io: true asked, the kernel made it false (there)"
    )
    assert caught.value.cure == "another kernel"


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /sys/class/block."""
    monkeypatch.setattr(system, "BLOCK", str(tmp_path))
    return tmp_path


def block_device(sysfs: Path, name: str, **attributes: object) -> str:
    """A block device with these attributes; `__` in a name stands for a slash."""
    for key, value in ({"size": 2048} | attributes).items():
        path = sysfs / name / key.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return f"/dev/{name}"


def loop_over(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch, *, below: int, dio: int, own: int = 512
) -> Any:
    """The properties of a loop that asks for direct I/O, over blocks of `below` bytes and a file
    system with blocks of `own`."""
    monkeypatch.setattr(loop, "_blocks_below", lambda file: below)
    monkeypatch.setattr(loop, "_blocks_of_its_own", lambda file: own)
    monkeypatch.setattr(loop, "device_below", lambda reference: "/mnt/host")
    device = block_device(sysfs, "loop0", queue__logical_block_size=512, loop__dio=dio)
    spec = {"name": "disk", "over": "host", "size": 1 << 20, "block_size": 512}
    asking = loop.Loop(spec | {"direct_io": True, "partitions": []})
    return properties.check(asking.asked(layer.Made({"": device})))


def test_a_loop_that_is_silently_buffered_is_refused_with_the_cure(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = loop_over(sysfs, monkeypatch, below=512, dio=1)
    assert [each["key"] for each in told] == ["size", "block_size", "direct_io"]
    with pytest.raises(system.Failure) as caught:
        loop_over(sysfs, monkeypatch, below=4096, dio=0)
    assert "direct_io: true asked, the kernel made it false" in caught.value.said
    assert "block_size: 4096 on the loop, or direct_io: false" in caught.value.cure
    with pytest.raises(system.Failure) as caught:
        loop_over(sysfs, monkeypatch, below=0, dio=0)
    assert "may have no direct I/O" in caught.value.cure
    # XFS, once the file shares blocks.
    with pytest.raises(system.Failure) as caught:
        loop_over(sysfs, monkeypatch, below=512, dio=0, own=4096)
    assert "shares blocks" in caught.value.cure
    assert "block_size: 4096 on the loop, or direct_io: false" in caught.value.cure


def test_a_disk_of_large_blocks_that_the_kernel_does_not_take_is_refused(sysfs: Path) -> None:
    device = block_device(sysfs, "sda", size=0, queue__logical_block_size=512)
    asking = {"kind": "scsi", "asked": {"size": 64 << 20, "block_size": 16384}}
    with pytest.raises(system.Failure) as caught:
        properties.check(disk_properties.of_disk(asking, device))
    assert caught.value.said.startswith("size: 64M asked, the kernel made it 0 (")
    assert "block_size: 16384 asked, the kernel made it 512 (" in caught.value.said
    assert "--kernel" in caught.value.cure


def test_a_scheduler_is_set_and_read_back(sysfs: Path) -> None:
    device = block_device(sysfs, "vda", queue__scheduler="none [mq-deadline] kyber")
    asking = {"kind": "virtio-blk", "asked": {"scheduler": "kyber"}}
    with pytest.raises(system.Failure, match="scheduler: kyber asked, the kernel made it mq-dead"):
        properties.check(disk_properties.of_disk(asking, device))
    disk_properties.prepare(asking, device)
    assert (sysfs / "vda/queue/scheduler").read_text() == "kyber"
    asking["asked"] = {"scheduler": "mq-deadline"}
    block_device(sysfs, "vda", queue__scheduler="none [mq-deadline] kyber")
    (told,) = properties.check(disk_properties.of_disk(asking, device))
    assert told["made"] == "mq-deadline"


def identified(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A namespace of 16 KiB blocks with 8 bytes of metadata, on a controller."""
    controller, namespace, zoned = bytearray(4096), bytearray(4096), bytearray(4096)
    controller[77] = 5
    struct.pack_into("<I", controller, 96, 1 << 19)
    struct.pack_into("<HH", controller, 526, 7, 3)
    namespace[26], namespace[29] = 0b10010, 0b1001  # third format, extended; type 1, first bytes
    struct.pack_into("<HIB", namespace, 74, 256, 4096, 127)
    struct.pack_into("<HB", namespace, 128 + 4 * 2, 8, 14)
    struct.pack_into("<IHH", zoned, 44, 4, 2, 8)
    structures = dict(enumerate((namespace, controller))) | {5: zoned}
    monkeypatch.setattr(nvme_command, "identify", lambda name, cns: bytes(structures[cns]))
    monkeypatch.setattr(nvme_command, "feature", lambda name, number: {6: 1, 10: 0}[number])
    return nvme_properties.Identified("nvme0n1")


def test_what_a_namespace_says_is_read_in_the_profiles_units(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = identified(monkeypatch)
    keys = {key: read for key, (_, read) in nvme_properties.KEYS.items()}
    for in_sysfs in ("guard", "controllers"):
        del keys[in_sysfs]
    assert {key: read(here) for key, read in keys.items()} == {
        "copy.mssrl": 256, "copy.mcl": 4096, "copy.msrc": 128,
        "metadata": 8, "extended": True, "pi": 1, "pi_first": True,
        "write_cache": True, "mdts": 5, "fdp": True,
        "atomic.awun": 8, "atomic.awupf": 4, "atomic.dn": False,
        "zoned.zrwa.resources": 4, "zoned.zrwa.flush_granularity": 32768, "zoned.zrwa.size": 131072,
    }  # fmt: skip


def flakey(down: str) -> Any:
    """A dm-flakey layer."""
    return faulty.Flakey({"name": "flaky", "over": "S", "up": "20s", "down": down, "features": []})


def test_nothing_is_tried_on_what_may_be_down(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(probe, "block", lambda device, other, why_not: asked.append(why_not))
    monkeypatch.setattr(probe, "directory", lambda mount, kind, why_not: asked.append(why_not))
    monkeypatch.setattr(system, "in_use", lambda device: False)
    for down in ("2s", "0s"):
        above = [
            layer.Layer({"name": "fs", "over": "flaky"}),
            layer.Layer({"name": "disk", "over": "fs"}),
        ]
        built = stack.Stack([], [flakey(down), *above], lambda **step: None)
        for name, mount in (("S", None), ("flaky", None), ("fs", "/mnt/fs"), ("disk", None)):
            step = {"name": name, "status": "up", "devices": {"": f"/dev/{name}"}, "mount": mount}
            built._probe(step, set())
    why = "flaky works for 20s and fails for 2s"
    assert asked == ["", why, why, why, "", "", "", ""]


def test_trials_that_may_not_be_made_are_not_tried(sysfs: Path) -> None:
    device = block_device(sysfs, "dm-0", queue__logical_block_size=512, queue__write_cache="x")
    rows = {row["capability"]: row for row in probe.block(device, None, "it sleeps")}
    assert rows["block size"]["supported"] is True
    for name in ("copy_file_range", "discard", "write zeroes"):
        assert rows[name] == {"capability": name, "supported": None, "said": "not tried: it sleeps"}
