# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line: golden files, and what must hold for any profile.

LAB_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before you commit it.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.guest.guests import peer_profile
from lab.problem import InvalidProfileError
from lab.profile.device_rules import MAX_PORTS
from lab.profile.load import load, load_file
from lab.profile.models import NvmeController, Profile
from lab.vm.argv import Boot, argv
from lab.vm.graph import Rule, drives
from lab.vm.link import Link
from tests import ROOT

GOLDEN = Path(__file__).with_name("golden")

TWO_CONTROLLERS = """\
description: two controllers, several namespaces, both block sizes, limits of their own
machine: {cpus: 4, memory: 1536M, network: user}
guest: {nvme_io_timeout: 30s, kernel_args: [quiet, nvme.poll_queues=2]}
devices:
- type: nvme
  serial: FAST
  mdts: 9
  namespaces:
  - size: 64M
  - {size: 1G, block_size: 4096, nsid: 7, copy: {mssrl: 65535, mcl: 4294967295, msrc: 256}}
- type: nvme
  serial: SLOW
  mdts: 0
  namespaces:
  - {size: 128M, copy: {mssrl: 1, mcl: 1, msrc: 1}}
"""

ZONED = """\
description: zones, with and without a capacity and limits
devices:
- type: nvme
  serial: ZNS
  namespaces:
  - size: 256M
    block_size: 4096
    zoned: {zone_size: 16M, zone_capacity: 12M, max_open: 4, max_active: 8}
  - {size: 64M, zoned: {zone_size: 16M}}
"""

MANY = f"""\
description: more namespaces and disks than have a slot each
devices:
- type: nvme
  serial: MANY
  controllers: 2
  namespaces: [{", ".join(["{size: 16M}"] * 64)}]
- {{type: nvme, serial: BARE, namespaces: [{{size: 64M, block_size: 65536, copy: none}}]}}
""" + "".join(
    f"- {{type: {kind}, serial: {kind}{number:02}, size: 16M, block_size: {block_size}}}\n"
    for kind, block_size in (("virtio-blk", 16384), ("virtio-scsi", 8192))
    for number in range(15)
)

EVERY_KIND = """\
description: every kind of device, and every feature of NVMe
devices:
- type: nvme
  serial: SHARED
  controllers: 2
  fdp: {handles: 3, reclaim_groups: 2}
  atomic: {awun: 8, awupf: 4, dn: true}
  namespaces:
  - {size: 64M, metadata: 16, extended: true, pi: 2, pi_first: true, guard: 64}
  - size: 64M
    metadata: 16
    write_cache: false
    scheduler: kyber
    medium: '/srv/prepared, with comma.raw'
- type: nvme
  serial: ZRWA
  namespaces:
  - size: 64M
    zoned:
      zone_size: 16M
      max_active: 8
      zrwa: {size: 64K, flush_granularity: 16K, resources: 4}
- {type: virtio-blk, serial: BLK, size: 64M, block_size: 4096}
- {type: virtio-blk, serial: BARE, size: 64M, discard: false, write_cache: false}
- {type: virtio-scsi, serial: SSD, size: 64M}
- {type: virtio-scsi, serial: HDD, size: 64M, rotational: true, discard: false, write_cache: false}
- {type: host-block, serial: H0, overwrite: H0, path: '/dev/disk/by-id/a,b', block_size: 4096}
- {type: host-nvme, serial: H1, overwrite: H1, address: '0000:01:00.0'}
"""


def loaded(directory: Path, name: str, text: str) -> Profile:
    """The profile in a YAML text."""
    path = directory / f"{name}.yaml"
    path.write_text(text)
    return load_file(path)


def boot(accelerator: str = "tcg", name: str = "guest-1") -> Boot:
    """A host that has all it needs."""
    return Boot(
        name=name,
        qemu="/usr/bin/qemu-system-x86_64",
        accelerator=accelerator,
        kernel=Path("/cache/kernel, with comma/vmlinux"),
        kernel_args=("console=ttyS0", "panic=-1"),
        root=Path("/cache/image, with comma/root.erofs"),
        modules=Path("/cache/kernel, with comma/modules.erofs"),
    )


def lines(words: list[str]) -> str:
    """A command line as a golden file: one option and its value on each line."""
    text = words[0]
    for word in words[1:]:
        text += ("\n" if word.startswith("-") else " ") + word
    return text + "\n"


def check(name: str, profile: Profile, host: Boot) -> None:
    """Compare a command line with its golden file, or write that."""
    golden, found = GOLDEN / f"{name}.argv", lines(argv(profile, host))
    if os.environ.get("LAB_UPDATE_GOLDEN") == "1":
        golden.write_text(found)
    assert found == golden.read_text()


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_the_shipped_profile_is_pinned(accelerator: str) -> None:
    profile = load_file(ROOT / "profiles/nvme-copy.yaml")
    check(f"nvme-copy-{accelerator}", profile, boot(accelerator))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("two-controllers", TWO_CONTROLLERS),
        ("zoned", ZONED),
        ("every-kind", EVERY_KIND),
        ("many", MANY),
    ],
)
def test_a_profile_is_pinned(tmp_path: Path, name: str, text: str) -> None:
    check(name, loaded(tmp_path, name, text), boot())


def test_both_ends_of_a_link_are_pinned() -> None:
    profile = load_file(ROOT / "profiles/nvmet-tcp.yaml")
    own, other = Link("pair-peer", 1), Link("pair", 2)
    check("link", profile, replace(boot(name="pair"), link=own))
    check("link-peer", peer_profile(profile), replace(boot(name="pair-peer"), link=other))
    assert (own.address, own.peer) == (other.peer, other.address)


def test_every_golden_file_is_checked() -> None:
    names = {"nvme-copy-tcg", "nvme-copy-kvm", "two-controllers", "zoned", "every-kind", "many"}
    names |= {"link", "link-peer"}
    assert {path.stem for path in GOLDEN.iterdir()} == names


def values(words: list[str], option: str) -> list[str]:
    """What an option is given, each time."""
    return [value for word, value in pairwise(words) if word == option]


def nodes(words: list[str]) -> list[dict[str, Any]]:
    """The block nodes of a command line."""
    return [json.loads(value) for value in values(words, "-blockdev")]


def devices(words: list[str]) -> list[dict[str, str]]:
    """The devices of a command line, by their properties."""
    return [
        dict(part.partition("=")[::2] for part in f"driver={value}".split(","))
        for value in values(words, "-device")
    ]


def files(words: list[str]) -> Iterator[str]:
    """Every file that QEMU is told to write."""
    yield from (
        node["filename"] for node in nodes(words) if "filename" in node and "read-only" not in node
    )
    for option in ("-initrd", "-pidfile", "-D"):
        yield from values(words, option)
    for value in (*values(words, "-qmp"), *values(words, "-chardev")):
        yield from re.findall(r"(?:unix:|path=|logfile=)([^,]+)", value)


SERIALS = st.from_regex(
    next(text.pattern for text in NvmeController.model_fields["serial"].metadata), fullmatch=True
)
"""Any that a profile may have."""


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Profiles with several controllers and namespaces, numbered as far as QEMU goes."""
    spaces = st.lists(st.integers(1, 256), min_size=1, max_size=3, unique=True)
    serials = draw(st.lists(SERIALS, min_size=1, max_size=4, unique=True))
    controllers = tuple(
        {
            "type": "nvme",
            "serial": serial,
            "namespaces": tuple(
                {"nsid": nsid, "size": 2**20, "block_size": draw(st.sampled_from([512, 4096]))}
                for nsid in draw(spaces)
            ),
        }
        for serial in serials
    )
    return Profile.model_validate({"name": "p", "description": "d", "devices": controllers})


@given(profiles())
def test_node_names_are_unique_and_short_enough_for_qemu(profile: Profile) -> None:
    names = [node["node-name"] for node in nodes(argv(profile, boot()))]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 31


def test_node_names_stay_short_after_many_faults() -> None:
    namespaces = ({"nsid": 256, "size": 2**20},)
    controllers = tuple(
        {"type": "nvme", "serial": f"S{index}", "namespaces": namespaces} for index in range(24)
    )
    last = drives(
        Profile.model_validate({"name": "p", "description": "d", "devices": controllers})
    )[-1]
    assert all(len(str(node["node-name"])) <= 31 for node in last.fault_layer(10**9))


@given(profiles())
def test_every_node_is_declared_before_it_is_used(profile: Profile) -> None:
    words = argv(profile, boot())
    known: set[str] = set()
    for node in nodes(words):
        assert {node[key] for key in ("file", "image", "log") if key in node} <= known
        known.add(node["node-name"])
    assert {device["drive"] for device in devices(words) if "drive" in device} <= known


@given(profiles())
def test_every_device_sits_on_a_bus_of_its_own_controller(profile: Profile) -> None:
    found = [device for device in devices(argv(profile, boot())) if "id" in device]
    ids = [device["id"] for device in found]
    assert len(set(ids)) == len(ids)
    parent = {device["id"]: device.get("bus") for device in found}
    for drive in drives(profile):
        bus = parent[drive.id]
        assert bus is not None
        assert parent[bus] == bus.replace("d", "port")
        (serial,) = (device["serial"] for device in found if device["id"] == bus)
        assert serial == drive.serial


@given(profiles())
def test_every_file_qemu_writes_is_in_the_directory_of_the_guest(profile: Profile) -> None:
    names = list(files(argv(profile, boot())))
    assert len(names) == 8 + 2 * len(drives(profile))
    assert len(set(names)) == len(names)
    assert [name for name in names if Path(name).name != name] == []


def test_trees_of_suites_are_disks_with_their_serials_that_cannot_be_written() -> None:
    host = replace(boot(), trees=(("suite", Path("/cache/tree.erofs")),))
    words = argv(load("nvme-copy"), host)
    (node,) = [node for node in nodes(words) if node["node-name"] == "suite"]
    assert (node["filename"], node["read-only"]) == ("/cache/tree.erofs", True)
    assert "virtio-blk-pci,drive=suite,serial=suite" in words


def test_artifacts_are_opened_read_only_whatever_their_path_holds() -> None:
    found = nodes(argv(load_file(ROOT / "profiles/nvme-copy.yaml"), boot()))
    artifacts = {node["filename"]: node["read-only"] for node in found if "read-only" in node}
    assert artifacts == {str(boot().root): True, str(boot().modules): True}


def test_a_restricted_network_still_forwards_ssh(tmp_path: Path) -> None:
    for network, restrict in (("none", "on"), ("user", "off")):
        text = ZONED + f"machine: {{network: {network}}}\n"
        (netdev,) = values(argv(loaded(tmp_path, "net", text), boot()), "-netdev")
        assert netdev == f"user,id=net,restrict={restrict},hostfwd=tcp:127.0.0.1:0-:22"


def test_limits_are_given_as_the_device_reports_them(tmp_path: Path) -> None:
    profile = loaded(tmp_path, "two", TWO_CONTROLLERS)
    limits = {
        device["id"]: tuple(int(device[key]) for key in ("mssrl", "mcl", "msrc"))
        for device in devices(argv(profile, boot()))
        if device["driver"] == "nvme-ns"
    }
    # MSRC is zero-based.
    assert limits == {"d0n1": (128, 128, 127), "d0n7": (65535, 2**32 - 1, 255), "d1n1": (1, 1, 0)}


def test_arguments_of_the_profile_come_last_so_that_they_win(tmp_path: Path) -> None:
    words = argv(loaded(tmp_path, "two", TWO_CONTROLLERS), boot())
    assert values(words, "-append") == [
        "console=ttyS0 panic=-1 nvme_core.io_timeout=30 quiet nvme.poll_queues=2"
    ]


def test_every_controller_has_a_slot_of_its_own(tmp_path: Path) -> None:
    found = devices(argv(loaded(tmp_path, "all", EVERY_KIND), boot()))
    ports = [device for device in found if device["driver"] == "pcie-root-port"]
    for key in ("id", "chassis", "slot"):
        assert len({port[key] for port in ports}) == len(ports) == 9
    on_ports = [device["bus"] for device in found if device.get("bus", "").startswith("port")]
    assert sorted(on_ports) == sorted(port["id"] for port in ports)


def test_where_slots_run_out_eight_ports_share_one_and_the_machine_keeps_its_own(
    tmp_path: Path,
) -> None:
    disks = "".join(f"- {{type: virtio-blk, serial: B{n}, size: 1M}}\n" for n in range(MAX_PORTS))
    found = devices(argv(loaded(tmp_path, "most", f"description: most\ndevices:\n{disks}"), boot()))
    ports = [device for device in found if device["driver"] == "pcie-root-port"]
    for key in ("id", "chassis", "slot", "addr"):
        assert len({port[key] for port in ports}) == len(ports) == MAX_PORTS
    slots = {int(port["addr"].partition(".")[0], 16) for port in ports}
    # Of q35's 32 slots the first and the last are the chipset's, the second half ours.
    assert slots == set(range(31 - MAX_PORTS // 8, 31))
    assert {port["multifunction"] for port in ports} == {"on"}
    assert all("addr" not in device for device in found if device["driver"] != "pcie-root-port")


def test_more_controllers_than_fit_are_refused(tmp_path: Path) -> None:
    disks = "".join(
        f"- {{type: virtio-blk, serial: B{n}, size: 1M}}\n" for n in range(MAX_PORTS + 1)
    )
    with pytest.raises(InvalidProfileError, match=r"129 controllers do not fit; .* at most 128"):
        loaded(tmp_path, "more", f"description: more\ndevices:\n{disks}")


def test_media_have_room_for_metadata_and_drives_say_how_qemu_names_them(tmp_path: Path) -> None:
    found = {drive.medium: drive for drive in drives(loaded(tmp_path, "all", EVERY_KIND))}
    mib = 2**20
    assert {name: drive.medium_size for name, drive in found.items()} == {
        "SHARED-1.raw": 64 * mib // 512 * 528,
        "SHARED-2.raw": 64 * mib // 512 * 528,
        "ZRWA-1.raw": 64 * mib,
        "BLK.raw": 64 * mib,
        "BARE.raw": 64 * mib,
        "SSD.raw": 64 * mib,
        "HDD.raw": 64 * mib,
    }
    assert found["SHARED-2.raw"].prepared == "/srv/prepared, with comma.raw"
    assert found["SHARED-1.raw"].qdev == "d0n1"
    assert found["BLK.raw"].qdev == "/machine/peripheral/d2/virtio-backend"
    assert found["SSD.raw"].qdev == "d4l0"


def test_a_fault_layer_lets_discards_through_where_the_disk_does(tmp_path: Path) -> None:
    for drive in drives(loaded(tmp_path, "all", EVERY_KIND)):
        passed = {node.get("discard") for node in (*drive.nodes(), *drive.fault_layer(1))}
        assert passed == ({"unmap"} if drive.serial in ("BLK", "SSD") else {None})


DRIVE = drives(load_file(ROOT / "profiles/nvme-copy.yaml"))[0]


def test_a_fault_layer_goes_on_top_of_the_write_log() -> None:
    rules = [Rule("flush_to_os", "write", 5, sector=9), Rule("flush_to_os", "read", 28, once=False)]
    assert DRIVE.fault_layer(3, rules, fragment=4096) == [
        {
            "driver": "blkdebug",
            "node-name": "d0n1-fault3",
            "image": "d0n1-log",
            "max-transfer": 4096,
            "inject-error": [
                {
                    "event": "flush_to_os",
                    "iotype": "write",
                    "errno": 5,
                    "once": True,
                    "sector": 9,
                },
                {"event": "flush_to_os", "iotype": "read", "errno": 28, "once": False},
            ],
        },
        {"driver": "raw", "node-name": "d0n1-top3", "file": "d0n1-fault3"},
    ]


def test_a_rule_for_sector_0_is_limited_to_it() -> None:
    blkdebug = DRIVE.fault_layer(1, [Rule("flush_to_os", "write", 5, sector=0)])[0]
    assert blkdebug["inject-error"] == [
        {"event": "flush_to_os", "iotype": "write", "errno": 5, "once": True, "sector": 0}
    ]


def test_drives_follow_the_order_of_the_profile(tmp_path: Path) -> None:
    found = drives(loaded(tmp_path, "two", TWO_CONTROLLERS))
    assert [
        (drive.id, drive.medium, drive.write_log, drive.size >> 20, drive.block_size)
        for drive in found
    ] == [
        ("d0n1", "FAST-1.raw", "FAST-1.log", 64, 512),
        ("d0n7", "FAST-7.raw", "FAST-7.log", 1024, 4096),
        ("d1n1", "SLOW-1.raw", "SLOW-1.log", 128, 512),
    ]
