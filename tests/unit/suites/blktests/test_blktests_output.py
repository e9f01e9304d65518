# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what blktests' check prints, as it comes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.results.cases import CaseStatus
from lab.suites.blktests.output import BlktestsReader, condition
from lab.suites.upstream.reader import CaseEnd, CaseStart

NAMES = (
    "block/001", "block/002", "block/003", "block/004", "block/005", "block/006", "block/007",
    "loop/001", "loop/002", "md/003", "nvme/005", "nvme/033", "nvme/039", "zbd/001", "zbd/002",
)  # fmt: skip
WHOLE = """\
./check: rublk is not available. Install rublk.
block/001 (stress device hotplugging)                       \n\
block/001 (stress device hotplugging)                        [passed]
    runtime  41.1s  ...  42.0s
block/002 => nvme0n1 (run various (two) discard sizes)      \n\
block/002 => nvme0n1 (run various (two) discard sizes)       [not run]
    trim iops    ...  132
    /dev/nvme0n1 does not support discard
    command blkdiscard is not available
block/003 (exit)                                            \n\
block/003 (exit)                                             [failed]
    runtime    ...  0.007s
    exited with status 1
block/004 (check dmesg)                                     \n\
block/004 (check dmesg)                                      [failed]
    runtime    ...  0.100s
    something found in dmesg:
    [   50.660212] run blktests block/004 at 2026-11-24 12:11:45
    ...
    (See '/run/lab/suite/results/nodev/block/004.dmesg' for the entire message)
block/005 (its shell is gone)                               \n\
block/006 => fallback (only the second heading)              [not run]
    driver null_blk is not available
./check: block/007: fallback_device call failure
loop/***                                                     [not run]
    driver loop is not available
md/003 => nvme0n1 nvme1n1 (test md atomic writes)           \n\
md/003 => nvme0n1 nvme1n1 (test md atomic writes)            [passed]
nvme/*** => sda                                              [not run]
    /dev/sda is not a NVMe device
nvme/005 (tr=loop) (reset local loopback target)            \n\
nvme/005 (tr=loop) (reset local loopback target)             [passed]
    runtime    ...  1.2s
nvme/005 (tr=tcp) (reset local loopback target)             \n\
nvme/005 (tr=tcp) (reset local loopback target)              [failed]
    runtime    ...  1.3s
    --- tests/nvme/005.out	2026-11-24 12:04:02.000000000 +0000
    +++ /run/lab/suite/results/nodev_tr_tcp/nvme/005.out.bad	2026-11-24 12:11:38 +0000
    @@ -1,2 +1 @@
    -Running nvme/005
    +nvme/033 (said by a test, but not at the start of a line)
    ...
    (Run 'diff -u a b' to see the entire diff)
nvme/005 (tr=rdma) (reset local loopback target)            \n\
nvme/005 (tr=rdma) (reset local loopback target)             [not run]
    driver rdma_rxe is not available
nvme/033 => nvme0n1 (tr=loop) (a description that is long enough to fill it)
nvme/033 => nvme0n1 (tr=loop) (a description that is long enough to fill it) [passed]
    runtime    ...  1.3s
nvme/033 => nvme1n1 (tr=loop) (a description that is long enough to fill it)
nvme/033 => nvme1n1 (tr=loop) (a description that is long enough to fill it) [not run]
    runtime    ...  0.001s
    nvme1n1 has no such feature
zbd/*** => nvme0n1                                           [not run]
    /dev/nvme0n1 is not a zoned block device
check ended with status 1
"""
PASS, FAIL, NOTRUN = CaseStatus.PASS, CaseStatus.FAIL, CaseStatus.NOTRUN


def read(pieces: list[str], names: tuple[str, ...] = NAMES) -> list[CaseStart | CaseEnd]:
    reader = BlktestsReader(names)
    found = [event for piece in pieces for event in reader.feed(piece)]
    return [*found, *reader.finish()]


def ended(text: str, names: tuple[str, ...] = NAMES) -> dict[str, CaseEnd]:
    return {event.name: event for event in read([text], names) if isinstance(event, CaseEnd)}


def test_a_test_has_the_worst_of_its_runs_and_the_reason_of_the_first_that_did_not_pass() -> None:
    found = ended(WHOLE)
    assert [(e.name, e.status, e.reason) for e in sorted(found.values(), key=lambda e: e.name)] == [
        ("block/001", PASS, ""),
        (
            "block/002",
            NOTRUN,
            "nvme0n1: /dev/nvme0n1 does not support discard; command blkdiscard is not available",
        ),
        ("block/003", FAIL, "exited with status 1"),
        ("block/004", FAIL, "something found in dmesg"),
        ("block/005", FAIL, "check did not say how it ended"),
        ("block/006", NOTRUN, "fallback: driver null_blk is not available"),
        ("block/007", NOTRUN, "./check: block/007: fallback_device call failure"),
        ("loop/001", NOTRUN, "driver loop is not available"),
        ("loop/002", NOTRUN, "driver loop is not available"),
        ("md/003", PASS, ""),
        ("nvme/005", FAIL, "tr=tcp: output mismatch"),
        ("nvme/033", PASS, "not run: nvme1n1, tr=loop: nvme1n1 has no such feature"),
        ("nvme/039", NOTRUN, "sda: /dev/sda is not a NVMe device"),
        ("zbd/001", NOTRUN, "nvme0n1: /dev/nvme0n1 is not a zoned block device"),
        ("zbd/002", NOTRUN, "nvme0n1: /dev/nvme0n1 is not a zoned block device"),
    ]
    assert "(tr=rdma) (reset local loopback target)" in found["nvme/005"].output
    assert "block/007" not in found["block/006"].output.splitlines()[0]


def test_every_test_begins_and_ends_once() -> None:
    found = read([WHOLE])
    for kind in (CaseStart, CaseEnd):
        assert sorted(event.name for event in found if isinstance(event, kind)) == sorted(NAMES)
    assert [type(event) for event in found] == [CaseStart, CaseEnd] * len(NAMES)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_it_does_not_matter_in_which_pieces_the_output_comes(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[a:b] for a, b in itertools.pairwise(places)]
    assert read(pieces) == read([WHOLE])


@given(st.integers(0, len(WHOLE)))
def test_what_is_cut_off_gives_no_test_a_result_that_check_did_not_say(cut: int) -> None:
    whole = ended(WHOLE)
    events = [event for event in read([WHOLE[:cut]]) if isinstance(event, CaseEnd)]
    for event in events[:-1]:
        assert event == whole[event.name]
    for event in events[-1:]:
        assert event == whole[event.name] or event.status is FAIL


def test_a_test_has_begun_with_its_first_heading() -> None:
    reader = BlktestsReader(NAMES)
    assert list(reader.feed("block/001 (stress device hotplugging)   ")) == []
    assert list(reader.feed("  \n")) == [CaseStart("block/001")]
    assert list(reader.feed("block/001 (stress device hotplugging)   [passed]\n")) == []
    kinds = [type(event) for event in reader.feed("block/002 => nvme0n1 (discards)\n")]
    assert kinds == [CaseEnd, CaseStart]


def test_a_test_without_an_end_is_a_failure_and_what_was_to_come_has_no_result() -> None:
    found = ended("block/001 (stress device hotplugging)  \n")
    assert list(found) == ["block/001"]
    assert found["block/001"].status is FAIL


@pytest.mark.parametrize(
    "text",
    [
        "./check: /dev/lab/none is not a block device\ncheck ended with status 1\n",
        "Killed\ncheck ended with status 137\n",
        "",
    ],
)
def test_a_check_that_does_not_start_says_nothing_of_any_test(text: str) -> None:
    assert read([text]) == []


def test_tests_that_need_a_device_where_there_is_none_are_passed_over() -> None:
    (found,) = ended("check ended with status 0\n", ("block/004",)).values()
    assert (found.status, found.reason) == (NOTRUN, "check passed over it")


def test_a_script_that_ends_before_its_first_heading_has_what_bash_said_of_it() -> None:
    said = "common/rc: line 274: read: 117deb13: value too great for base"
    (found,) = ended(f"{said}\ncheck ended with status 1\n", ("md/003",)).values()
    assert (found.status, found.reason) == (NOTRUN, f"check passed over it: {said}")
    before = "loop/001 (scan)\nloop/001 (scan)  [passed]\n    runtime  ...  1s\n"
    found = ended(f"{before}{said}\ncheck ended with status 1\n", ("loop/001", "md/003"))["md/003"]
    assert (found.status, found.reason) == (NOTRUN, f"check passed over it: {said}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("(tr=loop) (reset)", "tr=loop"),
        ("(x=0 y=0) (combine (two) hooks)", "x=0 y=0"),
        ("(combine (two) hooks)", ""),
        ("(cut (off)", ""),
        ("", ""),
    ],
)
def test_a_condition_stands_before_the_description(words: str, said: str) -> None:
    assert condition(words) == said
