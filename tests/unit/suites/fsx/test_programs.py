# SPDX-License-Identifier: GPL-2.0-or-later
"""fsx and fsstress of a tree: the loop over seeds, and what it says."""

import subprocess
from pathlib import Path

from lab.results.cases import CaseStatus
from lab.suites.fsx.options import parse
from lab.suites.fsx.programs import _EACH, Programs, _ended
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.reader import CaseEnd, CaseStart

BAD = """Seed set to 7
READ BAD DATA: offset = 0x9000, size = 0x1000, fname = /mnt/fsx/fsx
OFFSET      GOOD    BAD     RANGE
0x9010      0x0a1b  0x0000  0x0
operation# (mod 256) for the bad data unknown, check HOLE and EXTEND ops
LOG DUMP (3 total operations):
1(  1 mod 256): WRITE    0x0 thru 0xffff	(0x10000 bytes) HOLE
2(  2 mod 256): COPY 0x0 thru 0xfff	(0x1000 bytes) to 0x9000 thru 0x9fff
3(  3 mod 256): READ     0x9000 thru 0x9fff	(0x1000 bytes)
"""
SAID = (
    "== seed-6 begins\nAll 1000 operations completed A-OK!\n== seed-6 ends 0\n"
    f"== seed-7 begins\n{BAD}== seed-7 ends 110\n== seed-8 begins\nstill running"
)


def read(pieces: list[str]) -> list[CaseStart | CaseEnd]:
    reader = MarkReader(_ended)
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.finish()]


def test_each_seed_has_its_result_and_fsx_log_is_understood() -> None:
    ended = [event for event in read([SAID]) if isinstance(event, CaseEnd)]
    assert [(e.name, e.status, e.reason) for e in ended] == [
        ("seed-6", CaseStatus.PASS, ""),
        (
            "seed-7",
            CaseStatus.FAIL,
            "bad data from 0x9010 on, in a read of 0x1000 bytes at 0x9000, operation 3",
        ),
        ("seed-8", CaseStatus.FAIL, "it was ended"),
    ]
    assert "LOG DUMP" in ended[1].output


def test_it_does_not_matter_in_which_pieces_the_output_comes() -> None:
    for size in (1, 7, 40):
        assert read([SAID[at : at + size] for at in range(0, len(SAID), size)]) == read([SAID])


def program(tree: Path, name: str, script: str) -> None:
    path = tree / "ltp" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_loop_runs_the_program_on_a_fresh_place_for_each_seed(tmp_path: Path) -> None:
    program(tmp_path, "fsx", 'echo "$@"; test ! -e "${0%/*}/../mnt/fsx/old" && touch mnt/fsx/old')
    program(tmp_path, "fsstress", 'echo "$@"; exit 3')
    (tmp_path / "mnt").mkdir()
    options = parse(["--seed", "5", "--ops", "9", "--kinds", "write,copy"])
    events = {}
    for name in ("fsx", "fsstress"):
        suite = Programs(name, "mnt", options)
        argv = [*suite.command("top", ["seed-5", "seed-6"]).argv]
        assert argv[2] == _EACH
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        events[name] = [event for event in read([done.stdout]) if isinstance(event, CaseEnd)]
    assert [event.status for event in events["fsx"]] == [CaseStatus.PASS, CaseStatus.PASS]
    assert " ".join(events["fsx"][1].output.split()) == (
        "-q -N 9 -P /run/lab/suite/results/top -J -B -H -z -C -I -S 6 mnt/fsx/fsx"
    )
    assert [event.reason for event in events["fsstress"]] == ["exit status 3"] * 2
    assert " ".join(events["fsstress"][0].output.split()) == (
        "-d mnt/fsstress -n 9 -p 4 -z -f creat=5 -f write=10 -f copyrange=10 -s 5"
    )
