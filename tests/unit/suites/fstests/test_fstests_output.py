# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading what fstests' check prints, as it comes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lab.results.cases import CaseStatus
from lab.suites.fstests.output import FstestsReader, listed
from lab.suites.upstream.reader import CaseEnd, CaseStart

HEAD = """SECTION       -- xfs
FSTYP         -- xfs (non-debug)
PLATFORM      -- Linux/x86_64 xfs 6.12.117+deb13-amd64 #1 SMP
MKFS_OPTIONS  -- -f /dev/nvme0n2
MOUNT_OPTIONS -- /dev/nvme0n2 /mnt/scratch

"""
NAMES = ("generic/001", "generic/002", "generic/1212", "xfs/003", "xfs/004", "xfs/005", "xfs/006")
WHOLE = (
    HEAD
    + """generic/001         69s
generic/002  4s ...  5s
generic/1212       [not run] this test requires a valid $SCRATCH_DEV
xfs/003      4s ... - output mismatch (see /run/lab/results/xfs/xfs/003.out.bad)
    --- tests/xfs/003.out\t2025-01-01
    +++ /run/lab/results/xfs/xfs/003.out.bad\t2025-01-02
    @@ -1,2 +1,2 @@
    -generic/001 is here, but not at the start of a line
    ...
    (Run 'diff -u a b'  to see the entire diff)

HINT: You _MAY_ be missing kernel fix:
      0123456789ab xfs: mend it
xfs/004            [expunged]
xfs/005            _check_dmesg: something found in dmesg (see /x/xfs/005.dmesg)

xfs/006            [failed, exit status 1]- output mismatch (see /x/xfs/006.out.bad)
    --- a
Ran: generic/001 generic/002 generic/1212 xfs/003 xfs/005 xfs/006
Not run: generic/1212
Failures: xfs/003 xfs/005 xfs/006
Failed 3 of 6 tests

"""
)


def read(pieces: list[str]) -> list[CaseStart | CaseEnd]:
    reader = FstestsReader(NAMES)
    found = [event for piece in pieces for event in reader.feed(piece)]
    return [*found, *reader.finish()]


def test_every_kind_of_end_is_told_apart() -> None:
    ended = {event.name: event for event in read([WHOLE]) if isinstance(event, CaseEnd)}
    assert [(e.name, e.status, e.reason) for e in ended.values()] == [
        ("generic/001", CaseStatus.PASS, ""),
        ("generic/002", CaseStatus.PASS, ""),
        ("generic/1212", CaseStatus.NOTRUN, "this test requires a valid $SCRATCH_DEV"),
        ("xfs/003", CaseStatus.FAIL, "output mismatch"),
        ("xfs/004", CaseStatus.NOTRUN, "expunged"),
        (
            "xfs/005",
            CaseStatus.FAIL,
            "_check_dmesg: something found in dmesg (see /x/xfs/005.dmesg)",
        ),
        ("xfs/006", CaseStatus.FAIL, "[failed, exit status 1] output mismatch"),
    ]
    assert "HINT: You _MAY_ be missing kernel fix" in ended["xfs/003"].output
    assert "Ran:" not in ended["xfs/006"].output


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_it_does_not_matter_in_which_pieces_the_output_comes(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[a:b] for a, b in itertools.pairwise(places)]
    assert read(pieces) == read([WHOLE])


def test_a_case_has_begun_before_it_has_said_anything() -> None:
    reader = FstestsReader(NAMES)
    assert list(reader.feed(HEAD + "generic/001  ")) == [CaseStart("generic/001")]
    assert list(reader.feed("      ")) == []
    assert [type(event) for event in reader.feed(" 3s\n")] == [CaseEnd]


def test_a_passed_case_ends_with_its_line_not_with_the_next_case() -> None:
    reader = FstestsReader(NAMES)
    assert [type(event) for event in reader.feed("xfs/003   7s\n")] == [CaseStart, CaseEnd]


def test_a_failed_case_ends_when_the_next_begins() -> None:
    reader = FstestsReader(NAMES)
    text = "xfs/003  - output mismatch (see x)\n    +diff\n"
    assert [type(event) for event in reader.feed(text)] == [CaseStart]
    assert [type(event) for event in reader.feed("xfs/005 ")] == [CaseEnd, CaseStart]


def test_what_is_cut_off_is_a_failure_and_never_a_pass() -> None:
    (_, ended) = read(["generic/001  12s ... "])
    assert isinstance(ended, CaseEnd)
    assert (ended.status, ended.reason) == (CaseStatus.FAIL, "check did not say that it passed")


def test_a_list_has_what_check_would_run() -> None:
    said = HEAD + "generic/001\ngeneric/002       [expunged]\ngeneric/1212\n"
    assert listed(said) == ["generic/001", "generic/1212"]
