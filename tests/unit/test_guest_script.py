# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/copies: the bytes an NVMe Copy hands to the kernel, and how it is answered."""

import ctypes
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import ROOT, guest_module

PROGRAM = ROOT / "guest-scripts/copies"
LAYERS = {"LAB_LAYERS": str(ROOT / "guest-scripts/layers")}


def load(name: str = "nvme") -> Any:
    """One of the modules."""
    return guest_module.load(PROGRAM / f"{name}.py")


PURE = load()


@pytest.fixture
def script() -> Any:
    """The script as a module of the test's own."""
    return load()


RANGES = st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 2**16)), max_size=5)


@given(ranges=RANGES)
def test_source_range_entries_are_of_descriptor_format_0(ranges: list[tuple[int, int]]) -> None:
    data = PURE.descriptors(ranges)
    assert len(data) == 32 * len(ranges)
    for index, (slba, blocks) in enumerate(ranges):
        entry = data[32 * index : 32 * index + 32]
        assert int.from_bytes(entry[8:16], "little") == slba
        assert int.from_bytes(entry[16:18], "little") == blocks - 1  # zero-based
        assert int.from_bytes(entry[24:28], "little") == slba % 2**32  # reference tag
        assert entry[:8] + entry[18:24] + entry[28:] == bytes(18)


@given(ranges=RANGES)
def test_entries_of_format_1_have_a_wider_reference_tag(ranges: list[tuple[int, int]]) -> None:
    # NVM Command Set 1.1, Figure 40; where the storage tag has no bits (5.3.1.4)
    data = PURE.descriptors(ranges, form=1)
    assert len(data) == 40 * len(ranges)
    for index, (slba, blocks) in enumerate(ranges):
        entry = data[40 * index : 40 * index + 40]
        assert int.from_bytes(entry[8:16], "little") == slba
        assert int.from_bytes(entry[16:18], "little") == blocks - 1
        assert int.from_bytes(entry[30:36], "big") == slba % 2**48
        assert entry[:8] + entry[18:30] + entry[36:] == bytes(24)


@pytest.mark.parametrize(
    ("kind", "dword12"),
    [
        ("", 0),
        ("T10-DIF-TYPE1-CRC", 0xD << 12 | 0xD << 26),
        ("T10-DIF-TYPE3-CRC", 0xC << 12 | 0xC << 26),
        ("EXT-DIF-TYPE1-CRC64", 1 << 8 | 0xD << 12 | 0xD << 26),
    ],
)
def test_protection_information_chooses_format_and_checks(
    script: Any, monkeypatch: pytest.MonkeyPatch, kind: str, dword12: int
) -> None:
    device = Device()
    monkeypatch.setattr(script, "integrity", lambda _: kind)
    sent(script, monkeypatch, device, **{**COPY, "ranges": [[5, 6]]})
    assert device.field(48, 4) == dword12
    assert len(device.data) == (40 if "CRC64" in kind else 32)


def test_the_ioctl_number_is_that_of_the_commands_size() -> None:
    # _IOWR('N', 0x43, struct nvme_passthru_cmd): direction, size, type, number.
    assert PURE.PASSTHRU.size == 72
    number = 3 << 30 | 72 << 16 | ord("N") << 8 | 0x43
    assert number == PURE.IO_CMD


class Device:
    """Stands for the kernel's ioctl: keeps the command, answers as it is told."""

    def __init__(self, status: int = 0, result: int = 0) -> None:
        self.status = status
        self.result = result
        self.command = b""
        self.data = b""

    def ioctl(self, _fd: int, _number: int, command: bytearray) -> int:
        self.command = bytes(command)
        address, length = self.field(24, 8), self.field(36, 4)
        self.data = ctypes.string_at(address, length) if address else b""
        command[68:72] = self.result.to_bytes(4, "little")
        return self.status

    def field(self, at: int, size: int) -> int:
        """A field of struct nvme_passthru_cmd (include/uapi/linux/nvme_ioctl.h)."""
        return int.from_bytes(self.command[at : at + size], "little")


def sent(script: Any, monkeypatch: pytest.MonkeyPatch, device: Device, **request: object) -> Any:
    """The answer to a request that goes to `device`."""
    monkeypatch.setattr(script, "find", lambda *_: "/dev/null")
    monkeypatch.setattr(script.fcntl, "ioctl", device.ioctl)
    return getattr(script, str(request["op"]).split(".")[1])(request)


COPY = {
    "op": "nvme.copy",
    "serial": "S",
    "nsid": 3,
    "ranges": [[5, 6], [7, 8]],
    "sdlba": 0x123456789A,
}


def test_a_copy_is_one_command_with_its_descriptors_as_data(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device()
    sent(script, monkeypatch, device, **COPY)
    assert device.field(0, 1) == 0x19
    assert device.field(4, 4) == 3
    assert device.data == script.descriptors([[5, 6], [7, 8]])
    assert [device.field(at, 4) for at in range(40, 64, 4)] == [0x3456789A, 0x12, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "dword12"),
    [
        ({}, 1),  # number of ranges, zero-based
        ({"fua": True}, 1 | 1 << 30),
        ({"format": 2}, 1 | 2 << 8),
        ({"ranges": [[0, 1]] * 256}, 255),
    ],
)
def test_dword_12_holds_count_format_and_fua(
    script: Any, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], dword12: int
) -> None:
    device = Device()
    sent(script, monkeypatch, device, **{**COPY, **options})
    assert device.field(48, 4) == dword12


def test_a_held_copy_does_not_run_into_the_drivers_timeout(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device()
    sent(script, monkeypatch, device, **COPY)
    assert device.field(64, 4) >= 3600 * 1000


def test_a_flush_carries_no_data(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    sent(script, monkeypatch, device, op="nvme.flush", serial="S", nsid=3)
    assert (device.field(0, 1), device.field(4, 4)) == (0, 3)
    assert (device.field(24, 8), device.field(36, 4)) == (0, 0)
    assert [device.field(at, 4) for at in range(40, 64, 4)] == [0] * 6


@pytest.mark.parametrize(
    ("raw", "status"),
    [(0, 0), (0x280, 0x280), (0x4280, 0x280), (0x6281, 0x281), (0x2006, 0x6), (0x371, 0x371)],
)
def test_the_status_is_told_without_more_and_dnr(
    script: Any, monkeypatch: pytest.MonkeyPatch, raw: int, status: int
) -> None:
    answer = sent(script, monkeypatch, Device(raw, result=2), **COPY)
    assert (answer["status"], answer["dw0"]) == (status, 2)
    assert 0 <= answer["seconds"] < 1


def open_files() -> set[str]:
    """What this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_commands_go_through_the_character_device_and_leave_nothing_open(script: Any) -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError) as caught:
        script.passthrough("/dev/nvme999n1", script.FLUSH, 1)
    assert caught.value.filename == "/dev/ng999n1"
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        script.passthrough("/dev/null", script.FLUSH, 1)
    assert open_files() == before


def links(script: Any, directory: Path, **targets: str) -> None:
    """Namespaces as sysfs shows them, each SERIAL_NSID by the name of its device."""
    script.BLOCK, script.DEV = str(directory / "sys"), str(directory / "dev")
    for name in ("sys/vda", "sys/nvme0c0n1", "sys/nvme0n1p1", "dev"):
        (directory / name).mkdir(parents=True)
    for name, target in targets.items():
        serial, _, nsid = name.rpartition("_")
        (directory / "dev" / target).touch()
        (directory / "sys" / target / "device").mkdir(parents=True)
        # The controller pads it with blanks.
        (directory / "sys" / target / "device/serial").write_text(f"{serial:<20}\n")
        (directory / "sys" / target / "nsid").write_text(f"{nsid}\n")


@pytest.mark.parametrize(
    ("serial", "nsid", "device"),
    [("S", 1, "nvme0n1"), ("S", 2, "nvme0n2"), ("S", 12, "nvme0n3"), ("T", 1, "nvme1n1")],
)
def test_a_namespace_is_found_by_serial_and_number(
    script: Any, tmp_path: Path, serial: str, nsid: int, device: str
) -> None:
    links(
        script, tmp_path, S_1="nvme0n1", S_2="nvme0n2", S_12="nvme0n3", T_1="nvme1n1"
    )  # fmt: skip
    assert Path(script.find(serial, nsid, deadline=0.0)).name == device


def test_a_serial_that_ends_in_another_one_is_not_taken_for_it(script: Any, tmp_path: Path) -> None:
    links(script, tmp_path, A_B_1="nvme0n1", B_1="nvme1n1")
    assert Path(script.find("A_B", 1, deadline=0.0)).name == "nvme0n1"
    assert Path(script.find("B", 1, deadline=0.0)).name == "nvme1n1"


def test_a_namespace_that_is_not_there_is_named_with_those_that_are(
    script: Any, tmp_path: Path
) -> None:
    links(script, tmp_path, S_1="nvme0n1")
    words = r"no namespace 7 with serial S; there are: S 1"
    with pytest.raises(LookupError, match=words):
        script.find("S", 7, deadline=0.0)
    script.BLOCK = str(tmp_path / "dev")
    with pytest.raises(LookupError, match="there are: none"):
        script.find("S", 7, deadline=0.0)


def program(*argv: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the program as it is started in the guest."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", PROGRAM, *argv],
        env=LAYERS,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--serial, --to and at least one START+BLOCKS are needed"),
        (["--serial", "S", "--to", "0"], "at least one START+BLOCKS"),
        (["--serial", "S", "0+8"], "--to"),
        (["--serial", "S", "--to", "0", "128"], "a range is START+BLOCKS, such as 128+64"),
        (["--serial", "S", "--to", "0", "0+8", "1+2+3"], "a range is START+BLOCKS"),
        (["--serial", "S", "--to", "0", "a+b"], "a range is START+BLOCKS"),
        (["--serial", "S", "--to", "end", "0+8"], "invalid int value: 'end'"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_right(argv: list[str], words: str) -> None:
    status, out, err = program("nvme-copy", *argv)
    assert (status, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def called(script: Any, monkeypatch: pytest.MonkeyPatch, device: Device, *argv: str) -> None:
    """Run main() on a device that is there."""
    monkeypatch.setattr(script, "find", lambda *_: "/dev/null")
    monkeypatch.setattr(script.fcntl, "ioctl", device.ioctl)
    script.by_hand(argv)


def test_arguments_become_the_copy_that_they_say(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(0x280, result=1)
    called(
        script, monkeypatch, device,
        "--serial", "S", "--nsid", "2", "--to", "4096", "--fua", "0+64", "128+32",
    )  # fmt: skip
    assert device.data == script.descriptors([(0, 64), (128, 32)])
    assert device.field(4, 4) == 2
    assert device.field(40, 4) == 4096
    assert device.field(48, 4) == 1 | 1 << 30
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line).items() >= {"status": 0x280, "dw0": 1}.items()


def test_a_copy_that_cannot_be_carried_out_ends_with_one_line(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    device = Device()
    monkeypatch.setattr(device, "ioctl", refuse)
    with pytest.raises(SystemExit) as caught:
        called(script, monkeypatch, device, "--serial", "S", "--to", "0", "0+8")
    assert caught.value.code == "nvme-copy: [Errno 22] Invalid argument"


@pytest.mark.parametrize("blocks", ["0", "65537"])
def test_a_range_that_no_descriptor_can_hold_ends_with_one_line(
    script: Any, monkeypatch: pytest.MonkeyPatch, blocks: str
) -> None:
    with pytest.raises(SystemExit):
        called(script, monkeypatch, Device(), "--serial", "S", "--to", "0", f"0+{blocks}")


def test_a_request_that_cannot_be_carried_out_is_answered_and_the_next_one_too() -> None:
    status, out, err = program("serve", stdin='{"op": "fly"}\nnot JSON\n{}\n')
    answers = [json.loads(line)["error"] for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [answer.split(":")[0] for answer in answers] == [
        "ValueError", "JSONDecodeError", "KeyError",
    ]  # fmt: skip


@pytest.mark.parametrize("request_line", ["[]", '{"op": "kernel.kmsg", "after": "x"}'])
def test_a_request_of_the_wrong_type_is_answered_too(request_line: str) -> None:
    _, out, err = program("serve", stdin=f'{request_line}\n{{"op": "fly"}}\n')
    assert "Traceback" not in err
    answers = [json.loads(line) for line in out.splitlines()]
    assert [list(answer) for answer in answers] == [["error", "number"]] * 2


@pytest.mark.parametrize("ranges", [[[0, 0]], [[0, 65537]], []])
def test_a_range_that_no_descriptor_can_hold_is_refused(
    script: Any, monkeypatch: pytest.MonkeyPatch, ranges: list[list[int]]
) -> None:
    with pytest.raises((ValueError, struct.error)):
        sent(script, monkeypatch, Device(), **{**COPY, "ranges": ranges})


def test_an_error_of_the_kernel_is_how_a_copy_ended(tmp_path: Path) -> None:
    node = tmp_path / "file"
    node.write_bytes(bytes(8192))
    clone = {"op": "files.copy", "path": "fs-clone", "node": str(node), "ranges": [[0, 1]], "to": 7}
    read = {"op": "fly"}
    _, out, _ = program("serve", stdin=f"{json.dumps(clone)}\n{json.dumps(read)}\n")
    refused, unknown = (json.loads(line) for line in out.splitlines())
    # Which errno depends on the file system below; that nothing was cloned does not.
    assert refused["errno"] > 0
    assert refused["done"] == 0
    assert "error" in unknown


def _may_read_kmsg() -> bool:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _may_read_kmsg(), reason="/dev/kmsg cannot be read here")
def test_kernel_messages_are_those_behind_a_sequence_number() -> None:
    script = load("kernel")
    records = script.kmsg({"after": -1})["records"]
    numbers = [sequence for sequence, _, _ in records]
    assert numbers == sorted(set(numbers))
    assert all(0 <= level <= 7 and "\n" not in text for _, level, text in records)
    if numbers:
        middle = numbers[len(numbers) // 2]
        later = [sequence for sequence, _, _ in script.kmsg({"after": middle})["records"]]
        assert later[: len(numbers)] == [number for number in numbers if number > middle]


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    status, _, err = program("nvme-copy", "--help")
    assert status == 0, err
