# SPDX-License-Identifier: GPL-2.0-or-later
"""Targets and NFS: models, names, and the bytes of Extended Copy."""

import ctypes
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lab.problem import InvalidProfileError
from lab.profile.layers import BaseLayer, Node
from lab.profile.layers.kinds import Layer
from lab.profile.load import load_file
from lab.profile.models import Profile, stack
from tests.unit.test_layers_guest import load

nfs = load("nfs")
nfs_server = load("nfs_server")
nvme_target = load("nvme_target")
scsi_target = load("scsi_target")
system = load("system")
targets = load("targets")
xcopy = load("xcopy")

LAYERS: TypeAdapter[BaseLayer] = TypeAdapter(Layer)
MIB = 2**20

DISKS = """\
description: targets
devices:
- {type: nvme, serial: ONE, namespaces: [{size: 64M}]}
- {type: nvme, serial: FOUR, namespaces: [{size: 64M, block_size: 4096}]}
- {type: nvme, serial: ZNS, namespaces: [{size: 64M, zoned: {zone_size: 4M}}]}
"""
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,30}", fullmatch=True)


def loaded(directory: Path, layers: str) -> Profile:
    """The profile with these layers on DISKS."""
    path = directory / "p.yaml"
    path.write_text(DISKS + layers)
    return load_file(path)


def nodes(directory: Path, layers: str) -> dict[str, Node]:
    """All that the layers offer, and the disks."""
    return stack(loaded(directory, layers)).nodes


# --- models


def test_a_target_over_a_disk_is_like_the_disk(tmp_path: Path) -> None:
    found = nodes(
        tmp_path,
        """\
layers:
- {name: t, type: nvmet, over: FOUR}
- {name: s, type: tcm-loop, over: ONE}
- {name: z, type: nvmet, over: ZNS}
""",
    )
    assert found["t"] == Node("t", "block", 64 * MIB, 4096)
    assert found["s"] == Node("s", "block", 64 * MIB, 512)
    assert found["z"] == Node("z", "block", 64 * MIB, 512, zoned=True)


def test_a_target_over_a_file_has_the_size_of_the_file(tmp_path: Path) -> None:
    found = nodes(
        tmp_path,
        """\
layers:
- {name: fs, type: ext4, over: ONE}
- {name: n, type: nfs, over: fs}
- {name: t, type: nvmet, over: n, size: 8M}
- {name: s, type: tcm-loop, over: fs, size: 4M}
- {name: s4, type: tcm-loop, over: fs, size: 4M, block_size: 4096, write_back: true}
""",
    )
    assert found["n"] == Node("n", "directory", 64 * MIB, remote=True)
    assert found["t"] == Node("t", "block", 8 * MIB, 4096)
    assert found["s"] == Node("s", "block", 4 * MIB, 512)
    assert found["s4"] == Node("s4", "block", 4 * MIB, 4096)


def test_a_disk_of_the_peer_is_found_by_its_target(tmp_path: Path) -> None:
    found = nodes(
        tmp_path,
        """\
peer:
  devices:
  - {type: nvme, serial: FAR, namespaces: [{size: 32M, block_size: 4096}]}
  layers:
  - {name: far, type: nvmet, over: FAR, transport: tcp, connect: false}
layers:
- {name: near, type: nvme-connect, target: far}
- {name: fs, type: ext4, over: near}
""",
    )
    assert found["far"].kind == "export"
    assert found["near"] == Node("near", "block", 32 * MIB, 4096)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        pytest.param(
            "{name: t, type: nvmet, over: ONE, connect: false}",
            "layers[1].connect: loop reaches no other guest; expected true, or transport: tcp",
            id="an export over loop",
        ),
        pytest.param(
            "{name: t, type: nvmet, over: ONE, buffered: true}",
            "layers[1].buffered: a block device has no page cache here; "
            "expected a size, for a file",
            id="buffered disk",
        ),
        pytest.param(
            "{name: t, type: nvmet, over: fs, size: 4608}",
            "layers[1].size: 4608 B is not whole blocks; expected a multiple of 4096 bytes",
            id="part of a block",
        ),
        pytest.param(
            "{name: t, type: tcm-loop, over: fs, size: 4608, block_size: 4096}",
            "layers[1].size: 4608 B is not whole blocks; expected a multiple of 4096 bytes",
            id="part of a block of 4096",
        ),
        pytest.param(
            "{name: t, type: tcm-loop, over: ONE, write_back: true}",
            "layers[1].write_back: iblock has no cache of its own; expected a size, for a file",
            id="cached disk",
        ),
        pytest.param(
            "{name: t, type: tcm-loop, over: ONE, block_size: 512}",
            "layers[1].block_size: iblock has that of its device; expected a size, for a file",
            id="block size of a disk",
        ),
        pytest.param(
            "{name: t, type: tcm-loop, over: ZNS}",
            "layers[1].over: ZNS is zoned; expected one without zones",
            id="zones over SCSI",
        ),
        pytest.param(
            "{name: t, type: tcm-loop, over: ONE, size: 4M}",
            "layers[1].over: ONE is a block device; expected a file system",
            id="a file on a disk",
        ),
        pytest.param(
            "{name: t, type: nvme-connect, target: fs}",
            "layers[1].target: fs is a file system; expected an export of the peer",
            id="no export",
        ),
        pytest.param(
            "{name: t, type: nfs, over: ONE}",
            "layers[1].over: ONE is a block device; expected a file system",
            id="NFS of a disk",
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, layer: str, expected: str) -> None:
    with pytest.raises(InvalidProfileError) as caught:
        loaded(tmp_path, f"layers:\n- {{name: fs, type: ext4, over: FOUR}}\n- {layer}\n")
    problems = [f"{problem.key}: {problem.message}" for problem in caught.value.problems]
    assert problems == [expected]


@pytest.mark.parametrize(
    ("made", "keys"),
    [
        (nvme_target.Nvmet, {"type": "nvmet", "over": "a"}),
        (scsi_target.TcmLoop, {"type": "tcm-loop", "over": "a", "size": "4M"}),
        (nfs.Nfs, {"type": "nfs", "over": "a", "version": "4.1"}),
    ],
)
def test_host_and_guest_agree_on_what_a_layer_stands_on(made: Any, keys: dict[str, Any]) -> None:
    model = LAYERS.validate_python({"name": "t", **keys})
    assert made(model.model_dump(mode="json")).uses() == [use.ref for use in model.uses()] == ["a"]


def test_a_connection_stands_on_nothing_in_its_own_guest() -> None:
    spec = {"name": "near", "type": "nvme-connect", "target": "far"}
    layer = nvme_target.NvmeConnect(LAYERS.validate_python(spec).model_dump(mode="json"))
    assert layer.uses() == []
    with pytest.raises(system.Failure, match="near: this guest has no link to a peer"):
        layer.up()


# --- the NFS server


def test_a_grace_period_that_has_ended_is_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "v4_end_grace"
    state.write_text("Y\n")
    nfs_server.end_grace(str(state))
    # The kernel answers EBUSY to whoever ends it again.
    assert state.read_text() == "Y\n"


def test_a_grace_period_is_ended_and_its_end_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "v4_end_grace"
    state.write_text("N\n")
    written: list[str] = []
    monkeypatch.setattr(system, "write", lambda path, value: written.append(value))

    def soon(found: Any, what: str) -> None:
        assert not found() and "grace" in what
        state.write_text("Y\n")
        assert found()

    monkeypatch.setattr(system, "wait_for", soon)
    nfs_server.end_grace(str(state))
    assert written == ["Y"]


def test_a_grace_period_that_cannot_be_ended_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "v4_end_grace"
    state.write_text("N\n")
    ends_meanwhile = False

    def refuse(path: str, value: str) -> None:
        if ends_meanwhile:
            state.write_text("Y\n")
        raise system.Failure(f"echo {value} > {path}", "EBUSY", "EBUSY")

    monkeypatch.setattr(system, "write", refuse)
    with pytest.raises(system.Failure, match="EBUSY"):
        nfs_server.end_grace(str(state))
    ends_meanwhile = True
    nfs_server.end_grace(str(state))


# --- names


@given(name=NAMES)
def test_names_fit_and_serials_are_hexadecimal(name: str) -> None:
    assert re.fullmatch("[0-9a-f]{20}", targets.serial(name))
    assert len(nvme_target.nqn(name)) <= 223  # NVMe Base 2.1, 4.7


@given(names=st.sets(NAMES, min_size=2, max_size=5))
def test_every_layer_has_a_serial_of_its_own(names: set[str]) -> None:
    assert len({targets.serial(name) for name in names}) == len(names)


def test_a_serial_stays_the_same() -> None:
    # A connected initiator takes a disk with another serial for another disk.
    assert targets.serial("target") == "5485de51319d5b81a380"


# --- Extended Copy

NAA = bytes.fromhex("6001405abe1000000000000000000000")
OTHER = bytes.fromhex("600140511112222333344445555aaaab")
# As LIO of Linux 6.12 gave it: NAA, T10 vendor, relative port, groups, two SCSI names.
PAGE_83 = bytes.fromhex(
    "00830087" "01030010" "6001405abe1000000000000000000000"
    "02010017" "4c494f2d4f52472049424c4f434b3a4c414253455231" "00"
    "61940004" "00000000" "61950004" "00000001" "01060004" "00000000"
    "63980020" "6e61612e353030313430353030303030303030312c742c307830303031" "000000"
    "63a80018" "6e61612e35303031343035303030303030303031" "00000000"
)  # fmt: skip


def test_the_parameter_list_is_as_in_spc() -> None:
    # SPC-4 6.4.3.1, 6.4.5.2, 6.4.6.2; offsets counted by hand.
    listed = xcopy.parameter_list(NAA, OTHER, 4096, xcopy.segment(0x0102030405, 0x0A0B, 0x1234))
    assert listed == bytes.fromhex(
        "00" "18" "0040" "00000000" "0000001c" "00000000"
        "e4" "00" "0000" "01" "03" "00" "10" f"{NAA.hex()}" "00000000" "00" "001000"
        "e4" "00" "0000" "01" "03" "00" "10" f"{OTHER.hex()}" "00000000" "00" "001000"
        "02" "00" "0018" "0000" "0001" "0000" "1234" "0000000102030405" "0000000000000a0b"
    )  # fmt: skip


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1))
def test_a_segment_keeps_its_figures(source: int, target: int, blocks: int) -> None:
    segment = xcopy.segment(source, target, blocks)
    assert len(segment) == 28
    assert struct.unpack_from(">HQQ", segment, 10) == (blocks, source, target)


def test_the_identifier_of_a_disk_is_found() -> None:
    assert xcopy.designator(PAGE_83) == NAA


@given(before=st.lists(st.binary(max_size=20), max_size=4), wanted=st.sampled_from([NAA, NAA[:8]]))
def test_the_identifier_is_found_wherever_it_stands(before: list[bytes], wanted: bytes) -> None:
    # Of type T10 vendor (1), and NAA of the port (association 1), which is not the disk's.
    others = [struct.pack("BBBB", 2, 0x01, 0, len(text)) + text for text in before]
    others += [struct.pack("BBBB", 1, 0x13, 0, 8) + OTHER[:8]]
    body = b"".join(others)
    empty = struct.pack(">BBH", 0, 0x83, len(body)) + body
    assert xcopy.designator(empty) is None
    body += struct.pack("BBBB", 1, 0x03, 0, len(wanted)) + wanted
    assert xcopy.designator(struct.pack(">BBH", 0, 0x83, len(body)) + body) == wanted


DESCRIPTOR = bytes.fromhex("720a0d0200000000")
ATTENTION = bytes.fromhex("700006000000000a000000003f0e00000000")


def test_sense_data_are_read_in_both_formats() -> None:
    # SPC-4 4.5.3 fixed, 4.5.2 descriptor: copy aborted, error in the destination
    assert xcopy.sense(DESCRIPTOR) == (0xA, 0x0D, 0x02)
    assert xcopy.sense(ATTENTION) == (0x6, 0x3F, 0x0E)


class Header(ctypes.Structure):
    """struct sg_io_hdr as include/scsi/sg.h declares it."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


class Disk:
    """A kernel that answers each SG_IO with the next (status, sense data)."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.commands: list[tuple[bytes, bytes]] = []

    def ioctl(self, fd: int, number: int, request: bytearray) -> int:
        """Note command and data, and answer."""
        assert number == 0x2285 and len(request) == ctypes.sizeof(Header)
        header = Header.from_buffer(request)
        assert header.interface_id == ord("S") and header.dxfer_direction == -2
        command = ctypes.string_at(header.cmdp, header.cmd_len)
        self.commands.append((command, ctypes.string_at(header.dxferp, header.dxfer_len)))
        header.status, said = self.answers.pop(0)
        assert header.mx_sb_len >= len(said)
        ctypes.memmove(header.sbp, said, len(said))
        return 0


def sent(monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, bytes]) -> Disk:
    """What reaches a disk when the parameters `DATA` are sent to it."""
    disk = Disk(*answers)
    monkeypatch.setattr(xcopy.fcntl, "ioctl", disk.ioctl)
    xcopy._send(0, b"DATA")
    return disk


def test_the_command_is_extended_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = sent(monkeypatch, (0, b""))
    # SPC-4 6.4.1: operation code 83h, service action 0, parameter list length at byte 10
    assert disk.commands == [(bytes.fromhex("83" + "00" * 9 + "00000004" + "0000"), b"DATA")]


def test_a_unit_attention_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = sent(monkeypatch, (2, ATTENTION), (2, ATTENTION), (0, b""))
    assert len(disk.commands) == 3 and len(set(disk.commands)) == 1


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(2, DESCRIPTOR)], "Extended Copy: sense key Ah, ASC 0Dh, ASCQ 02h"),
        ([(2, ATTENTION)] * 4, "Extended Copy: sense key 6h, ASC 3Fh, ASCQ 0Eh"),
        ([(0x18, b"")], "SCSI status 18h, host status 00h, driver status 00h"),
    ],
)
def test_a_copy_that_failed_says_how(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, bytes]], expected: str
) -> None:
    with pytest.raises(system.Failure, match=expected):
        sent(monkeypatch, *answers)
