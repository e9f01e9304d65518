# SPDX-License-Identifier: GPL-2.0-or-later
"""The offload path nvme-copy: its request, its limits, and the device's trace as proof."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lab.copy.model import SECTOR, Completion, Copy, Extent
from lab.copy.paths import find
from lab.copy.paths.instrument import Subject
from lab.copy.paths.nvme import check_limits, completion, error_of
from lab.copy.paths.traced import is_bystander, offload, parse_trace
from lab.errors import HostError, UsageError
from lab.faults.model import Stage
from lab.profile.models import CopyLimits, Profile
from lab.suites.copy_faults.options import parse
from lab.suites.copy_faults.sweep import as_sweep
from tests.unit.builders import nvme_path

TRACE = """\
12345@1763663000.123456:pci_nvme_copy cid 771 nsid 1 nr 4 format 0x0
12345@1763663000.123460:pci_nvme_copy_source_range slba 0x840 nlb 64
12345@1763663000.200000:pci_nvme_read cid 13122 nsid 1 nlb 8 count 4096 lba 0x7ff80
12345@1763663000.2:pci_nvme_write cid 13123 nsid 1 nlb 1 count 512 lba 0x0
"""

SMALL = Copy((Extent(0x840, 64), Extent(0x900, 64)), destination=0xA00)
"""Of 512-byte blocks: sources 840..87f and 900..93f, destination a00..a7f."""

LARGE = Copy((Extent(0x840, 64),), destination=0xA00, unit=8)
"""Of 4096-byte blocks: source 108..10f, destination 140..147."""


def io(lba: int, blocks: int, event: str = "read", nsid: int = 1) -> str:
    """A trace line of an ordinary read or write."""
    size = blocks * 512
    words = f"cid 1 nsid {nsid} nlb {blocks} count {size} lba {lba:#x}"
    return f"1@1.5:pci_nvme_{event} {words}\n"


def others(text: str, copy: Copy = SMALL) -> int:
    """How many I/Os touched the copy's sectors."""
    against = offload(parse_trace(TRACE + text), copy, 1, 1).against
    return against.count("nlb")


def test_trace_lines_have_time_event_and_arguments() -> None:
    assert [(line.time, line.event, line.arguments) for line in parse_trace(TRACE)] == [
        (1763663000.123456, "copy", "cid 771 nsid 1 nr 4 format 0x0"),
        (1763663000.12346, "copy_source_range", "slba 0x840 nlb 64"),
        (1763663000.2, "read", "cid 13122 nsid 1 nlb 8 count 4096 lba 0x7ff80"),
        (1763663000.2, "write", "cid 13123 nsid 1 nlb 1 count 512 lba 0x0"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "12345@1763663000.1:virtio_blk_handle_read vdev 0x1 req 0x2 sector 2112 nsectors 8",
        '12345@1763663000.1:monitor_qmp_cmd_in_band "__qmp#00007"',
    ],
)
def test_events_of_other_devices_are_passed_over(line: str) -> None:
    assert parse_trace(line + "\n" + TRACE) == parse_trace(TRACE)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "qemu-system-x86_64: warning: pci_nvme_read is only a word here",
        "@1763663000.1:pci_nvme_read cid 1 nsid 1 nlb 8 count 4096 lba 0x840",
        "29-11-2026 03:12:11 pci_nvme_copy cid 771 nsid 1 nr 4 format 0x0",
    ],
)
def test_a_line_that_nobody_can_read_is_the_labs_failure(line: str) -> None:
    with pytest.raises(HostError, match="cannot read") as caught:
        parse_trace(TRACE + line + "\n")
    assert caught.value.exit_status == 3
    assert caught.value.detail == (line or "(an empty one)")


def test_of_a_line_of_megabytes_the_beginning_is_quoted() -> None:
    with pytest.raises(HostError, match="cannot read") as caught:
        parse_trace("\0" * (10 << 20) + "1@1.5:pci_nvme_copy\n")
    # With its control characters as escapes.
    assert len(caught.value.detail) <= 800


@pytest.mark.parametrize("lacking", ["nsid 1", "nlb 8", "lba 0x7ff80"])
def test_a_command_without_a_word_that_is_needed_is_quoted(lacking: str) -> None:
    lines = parse_trace(TRACE.replace(lacking, "", 2))
    with pytest.raises(HostError) as caught:
        offload(lines, SMALL, 1, 1)
    assert caught.value.detail.startswith("pci_nvme_")


def test_offload_counts_copies_and_source_ranges() -> None:
    two = TRACE + "1@1.5:pci_nvme_copy_source_range slba 0x900 nlb 64\n"
    assert offload(parse_trace(two), SMALL, 1, expected_ranges=2).proof.startswith(
        "1 Copy command, 2 source ranges"
    )


@pytest.mark.parametrize(
    ("text", "ranges", "against"),
    [
        ("", 0, "no Copy command"),
        (TRACE, 4, "copied 1 of 4 ranges"),
        (TRACE.replace("nsid 1 nr", "nsid 2 nr"), 1, "no Copy command"),
    ],
)
def test_offload_says_what_is_missing(text: str, ranges: int, against: str) -> None:
    assert against in offload(parse_trace(text), SMALL, 1, ranges).against


def test_offload_quotes_the_io_that_touched_the_copy() -> None:
    seen = offload(parse_trace(TRACE + io(0x840, 1, "write")), SMALL, 1, 1)
    assert "write cid 1 nsid 1 nlb 1 count 512 lba 0x840" in seen.against


@pytest.mark.parametrize(
    ("lba", "blocks", "touches"),
    [
        (0x83F, 1, 0),
        (0x838, 8, 0),
        (0x838, 9, 1),  # up to and including the first source sector
        (0x87F, 1, 1),
        (0x880, 0x80, 0),  # the gap between the ranges
        (0x87F, 0x82, 1),
        (0x93F, 1, 1),
        (0x940, 1, 0),
        (0x9FF, 1, 0),
        (0xA00, 1, 1),
        (0xA7F, 1, 1),
        (0xA80, 1, 0),
        (0x0, 0x10000, 1),  # encloses all of it
        (0x850, 1, 1),
    ],
)
@pytest.mark.parametrize("event", ["read", "write"])
def test_io_touches_the_copy_if_it_shares_a_sector(
    lba: int, blocks: int, touches: int, event: str
) -> None:
    assert others(io(lba, blocks, event)) == touches


@pytest.mark.parametrize(
    ("lba", "blocks", "touches"),
    [(0x107, 1, 0), (0x107, 2, 1), (0x108, 1, 1), (0x10F, 1, 1), (0x110, 0x30, 0), (0x13F, 2, 1),
     (0x147, 1, 1), (0x148, 1, 0), (0x840, 64, 0)],
)  # fmt: skip
def test_traced_addresses_are_logical_blocks(lba: int, blocks: int, touches: int) -> None:
    assert others(io(lba, blocks), LARGE) == touches


def test_the_copy_itself_is_no_other_io() -> None:
    assert others("1@1.5:pci_nvme_copy_source_range slba 0x840 nlb 64\n") == 0


def test_a_request_is_in_logical_blocks_and_names_the_namespace_by_serial() -> None:
    copy = Copy((Extent(2112, 64), Extent(2240, 8)), destination=4096, unit=8)
    assert nvme_path(block_size=4096).request(copy) == {
        "op": "nvme.copy",
        "path": "nvme-copy",
        "serial": "S",
        "nsid": 1,
        "ranges": [[264, 8], [280, 1]],
        "sdlba": 512,
        "fua": False,
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [(0, ""), (0x006, "EIO"), (0x280, "ENODATA"), (0x281, "ENODATA"), (0x282, "EILSEQ"),
     (0x081, "ENOSPC"), (0x001, "EOPNOTSUPP"), (0x371, "EIO"), (0x180, "EOPNOTSUPP"),
     (0x021, "EREMOTEIO"), (0x082, "EREMOTEIO"), (0x285, "ENODATA"), (0x183, "EIO or EOPNOTSUPP")],
)  # fmt: skip
def test_a_status_is_the_errno_that_the_block_layer_makes_of_it(status: int, error: str) -> None:
    assert error_of(status) == error


class Kernel:
    """A guest's executor, whose kernel makes EOPNOTSUPP (95) of 183h if it has fault injection."""

    def __init__(self, *, injects: bool) -> None:
        self.made = [[0x183, 95], [0x006, 5]] if injects else []
        self.asked: list[dict[str, object]] = []

    def __call__(self, **request: object) -> dict[str, Any]:
        self.asked.append(request)
        return {"errnos": self.made}


def test_what_the_kernel_was_seen_to_make_of_a_status_goes_before_any_table(tmp_path: Path) -> None:
    kernel = Kernel(injects=True)
    path = nvme_path().on(Subject(kernel, tmp_path))
    assert path.learn() == "this kernel's errnos of 2 NVMe statuses were found by trying"
    path.learn()
    (asked,) = kernel.asked
    statuses = asked["statuses"]
    assert isinstance(statuses, tuple)
    assert {0x180, 0x021, 0x082, 0x285, 0x183} <= set(statuses)
    assert path.completion({"status": 0x183, "dw0": 0, "seconds": 0.1}).error == "EOPNOTSUPP"
    # One that was not tried, by the table.
    assert path.completion({"status": 0x285, "dw0": 0, "seconds": 0.1}).error == "ENODATA"


def test_without_fault_injection_a_status_of_which_kernels_differ_stays_open(
    tmp_path: Path,
) -> None:
    path = nvme_path().on(Subject(Kernel(injects=False), tmp_path))
    assert "not tried: this kernel has no NVMe fault injection" in path.learn()
    told = path.completion({"status": 0x183, "dw0": 0, "seconds": 0.1})
    assert told.error == "EIO or EOPNOTSUPP"


@pytest.mark.parametrize(
    ("status", "stage", "said"),
    [
        (0x281, Stage.READ, ""),
        (0x280, Stage.WRITE, ""),
        (0x006, Stage.READ, "told status 0x6, 2 ranges reported done; a read that fails is 0x281"),
        (0x281, Stage.WRITE, "a write that fails is 0x280, Write Fault"),
    ],
)
def test_a_media_error_has_a_status_of_its_own(status: int, stage: Stage, said: str) -> None:
    found = nvme_path().misnames(Completion(status, 2, 0.1, "EIO"), stage)
    assert said in found
    assert bool(found) == bool(said)


def test_dword_0_of_the_completion_is_the_count_of_ranges_done() -> None:
    told = completion({"status": 0x280, "dw0": 2, "seconds": 0.5})
    assert told == Completion(status=0x280, ranges_done=2, seconds=0.5, error="ENODATA")
    assert not told.succeeded
    assert completion({"status": 0, "dw0": 0, "seconds": 0.5}).succeeded


THREE = Copy((Extent(0, 32), Extent(100, 64), Extent(200, 8)), destination=400, unit=8)
"""3 ranges, 8 blocks in the longest, 13 blocks in all."""


def test_a_copy_at_all_limits_is_allowed() -> None:
    check_limits(THREE, CopyLimits(msrc=3, mssrl=8, mcl=13))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (CopyLimits(msrc=2, mssrl=8, mcl=13), "3 source ranges: the profile's device allows 2"),
        (CopyLimits(msrc=3, mssrl=7, mcl=13), "8 blocks in a range: .* allows 7 .mssrl."),
        (CopyLimits(msrc=3, mssrl=8, mcl=12), "13 blocks in all: .* allows 12 .mcl."),
    ],
)
def test_a_copy_over_any_limit_is_refused_by_its_name(limits: CopyLimits, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_limits(THREE, limits)


@pytest.mark.parametrize("block_size", [512, 4096, 16384, 65536])
def test_a_layout_is_of_whole_blocks_with_whole_blocks_around_them(block_size: int) -> None:
    path = nvme_path(block_size=block_size)
    unit = block_size // SECTOR
    plan = path.layout(3, 2)
    parts = [*plan.copy.sources, plan.copy.target]
    for part in (*parts, plan.window):
        assert part.start % unit == part.sectors % unit == 0
    assert [part.sectors // unit for part in parts] == [2, 2, 2, 6]
    request = path.request(plan.copy)
    assert request["sdlba"] == plan.copy.destination // unit
    gaps = [later.start - earlier.end for earlier, later in pairwise(parts)]
    assert min(gaps) >= unit and plan.window.end - plan.copy.target.end >= unit


def test_where_no_copy_fits_the_device_is_asked_all_the_same() -> None:
    namespace = {"size": 1 << 26, "copy": "none"}
    profile = Profile.model_validate(
        {
            "name": "none",
            "description": "no copy",
            "devices": ({"type": "nvme", "serial": "S", "namespaces": (namespace,)},),
        }
    )
    limits = find(profile).limits
    assert (limits.mssrl, limits.mcl, limits.msrc, limits.none) == (0, 0, 1, True)
    for words in ([], ["--cases", "3"]):
        assert as_sweep(profile, parse(words)).path.name == "nvme-copy"


@pytest.mark.parametrize(
    ("text", "stage", "expected"),
    [
        ("", Stage.READ, False),
        (io(0x100, 8), Stage.READ, True),
        # A Copy that has come to its next range, whoever else reads.
        (io(0x100, 8) + "1@1.5:pci_nvme_copy_source_range slba 0x840 nlb 64\n", Stage.READ, False),
        # Extended Copy reads its source as anybody does.
        (io(0x100, 8) + io(0x840, 8), Stage.READ, False),
        (io(0x840, 8), Stage.READ, False),
        (io(0x100, 8, nsid=2), Stage.READ, False),
        (io(0x100, 8), Stage.WRITE, False),
        (io(0x100, 8, "write"), Stage.WRITE, True),
        (io(0x100, 8, "write") + "1@1.5:pci_nvme_copy_out slba 0xa00 nlb 64\n", Stage.WRITE, False),
    ],
)
def test_a_request_elsewhere_is_a_bystanders(text: str, stage: Stage, expected: bool) -> None:
    assert is_bystander(parse_trace(text), SMALL, 1, stage) is expected
