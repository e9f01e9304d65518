# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports of a kernel, as they are told, kept beside dumps, and shown."""

from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.host import dirs
from lab.inside.find import dump_named
from lab.inside.report.model import (
    BlockedTask,
    ControllerState,
    KernelReport,
    LoopState,
    MappedDevice,
    PendingBio,
    PendingRequest,
    QueueState,
)
from lab.inside.report.text import lines
from lab.results import dumps
from lab.results.dumps import DumpNote
from tests.unit.test_site import pages
from tests.unit.test_store import judged, write_run

TOLD = KernelReport(
    "6.12.118",
    tasks=(
        BlockedTask(
            223, "python3", "blk_execute_rq", ("request 0xffff888007d58000",),
            ("__schedule (kernel/sched/core.c:6752)", "blk_execute_rq (block/blk-mq.c:1488)"),
            ("&sb->s_type->i_mutex_key, taken in xfs_ilock",),
        ),
    ),
    queues=(
        QueueState("vda", "none", 2, 128, 0, 0, ()),
        QueueState(
            "nvme0n1", "none", 2, 1023, 1, 0,
            (
                PendingRequest(448, "NVMe copy (19h)", None, 64, "in flight", None,
                               "blk_end_sync_rq", (PendingBio(0, 64, ""),)),
                PendingRequest(3, "write", 2048, 4096, "in flight", 12.25, ""),
            ),
        ),
    ),
    mapped=(
        MappedDevice("flakey", "dm-0", ("0 64 flakey on loop0",), ("suspended",), 1,
                     (PendingBio(8, 4096, "bio_complete"),)),
    ),
    loops=(LoopState("loop0", "bound", "/mnt/xfs/disk", "direct I/O", 2),),
    controllers=(ControllerState("nvme0", "resetting", "QEMU NVMe Ctrl, pcie", ()),),
    lacking={"tasks": "AttributeError: no such member"},
)  # fmt: skip

TEXT = """\
kernel 6.12.118

python3 (223) waits in blk_execute_rq
  for request 0xffff888007d58000
  holds &sb->s_type->i_mutex_key, taken in xfs_ilock
    __schedule (kernel/sched/core.c:6752)
    blk_execute_rq (block/blk-mq.c:1488)

requests in flight:
  nvme0n1: 2 in flight, 2 queues of 1023 tags, scheduler none, frozen 1 times
    tag 448: NVMe copy (19h), 64 bytes: in flight, then blk_end_sync_rq
      bio at sector 0, 64 bytes, then nobody
    tag 3: write at sector 2048, 4096 bytes: in flight, for 12.2 s
  idle: vda
controller nvme0: resetting; QEMU NVMe Ctrl, pcie
device mapper flakey (dm-0): 1 bios pending; suspended
  0 64 flakey on loop0
  held back: bio at sector 8, 4096 bytes, then bio_complete
loop device loop0: bound, /mnt/xfs/disk, direct I/O; 2 waiting
tasks cannot be read of this kernel: AttributeError: no such member
"""


def test_a_report_says_who_waits_for_what() -> None:
    assert "\n".join(lines(TOLD)) + "\n" == TEXT


def test_a_report_of_a_kernel_in_which_nothing_waits() -> None:
    told = list(lines(KernelReport("6.12", queues=(TOLD.queues[0],))))
    assert "no task is blocked (state D)" in told
    assert "no request is in flight" in told


def keep(run: str, number: int, case: str, report: str = "") -> Path:
    place = dirs.state("runs", run, dumps.DIRECTORY)
    path = place / f"{number:03}{dumps.SUFFIX}"
    path.write_bytes(b"packed")
    note = DumpNote(guest="g", kernel="debian", release="6.12", taken="2026", why="it hangs",
                    case=case)  # fmt: skip
    dumps.write_note(path, note)
    if report:
        dumps.report_beside(path).write_text(report)
        dumps.document_beside(path).write_text("{}")
    return path


def test_a_dump_is_found_by_its_run_and_by_its_case() -> None:
    run = write_run(1, [judged("write:1 eio"), judged("write:2 eio") | {"number": 2}])
    first, second = keep(run, 1, "2", TEXT), keep(run, 2, "9")
    for what, wanted in {
        run: second, f"{run}:2": first, f"{run}:write:2,eio": first, str(first): first,
    }.items():  # fmt: skip
        found = dump_named(what)
        assert found is not None
        assert found[0] == wanted
    assert [note.case for _, note in dumps.of_run(dirs.state("runs", run))] == ["2", "9"]
    with pytest.raises(UsageError, match="no dump was kept"):
        dump_named(f"{run}:1")
    second.unlink()
    with pytest.raises(UsageError, match="none is left of 1"):
        dump_named(f"{run}:9")


def test_what_waits_stands_on_the_pages(tmp_path: Path) -> None:
    run = write_run(1, [judged("write:1 eio"), judged("write:2 eio", "violated", "NO-HANG")
                        | {"number": 2}])  # fmt: skip
    keep(run, 1, "2", TEXT.replace("python3", "<script>"))
    keep(run, 2, "1")
    found = pages(tmp_path, run)
    for name in (f"{run}.html", f"{run}.2.html"):
        assert "waits in blk_execute_rq" in found[name]
        assert "&lt;script&gt; (223)" in found[name]
        assert f"lab drgn {run}:2" in found[name]
    assert "waits in" not in found[f"{run}.1.html"]
    assert f"lab drgn {run}:1 --report" in found[f"{run}.1.html"]
