# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's kernel looked into: its memory taken while a request is held, by hand and in a run.

What needs a kernel's debugging information, a gigabyte, is tried where LAB_SYMBOLS is set.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import drgn
import pytest

from lab.artifacts.kernel import ensure_kernel
from lab.host.command import run as run_program
from lab.inside import vmcore
from tests.boot.conftest import LAB, Lab, guest_of_a_run, wait_for
from tests.boot.test_fsx import AT_WORK, PLAIN

symbols = pytest.mark.skipif(
    "LAB_SYMBOLS" not in os.environ, reason="LAB_SYMBOLS is not set: fetches a gigabyte"
)


needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    """A directory with the kernel that guests boot, which has no debugging information."""
    (tmp_path / "vmlinux").symlink_to(ensure_kernel("debian", print).vmlinux)
    return tmp_path


@pytest.fixture(scope="module")
def held(lab: Lab) -> Iterator[str]:
    """A guest with a copy held before its second write."""
    lab("up", "nvme-copy", "--name", "held", deadline=900)
    lab("fault", "held", "hold", "--at", "write:2")
    words = ("ssh", "held", "--", "nvme-copy", "--serial", "LABNVME0", "--to", "4096")
    copy = subprocess.Popen(
        [LAB, *words, "0+64", "128+64"], env=lab.env, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: status(lab)["state"] == "held", "a held copy", 120)
    yield "held"
    lab("fault", "held", "release")
    said, _ = copy.communicate(timeout=120)
    assert json.loads(said)["status"] == 0
    lab("down", "held")


def status(lab: Lab) -> dict[str, Any]:
    """What is armed, or held, in the guest."""
    found: dict[str, Any] = json.loads(lab("fault", "held", "status", "--json").stdout)
    return found


def core(lab: Lab, dump: Path) -> drgn.Program:
    """The kernel in a dump, without its symbols."""
    plain = lab.state / "core.elf"
    run_program(["zstd", "-q", "-d", "-f", "--sparse", dump, "-o", plain], deadline=300)
    program = drgn.Program()
    program.set_core_dump(plain)
    return program


def test_the_memory_of_a_guest_whose_copy_is_held(lab: Lab, held: str) -> None:
    said = json.loads(lab("dump", held, "--json", deadline=600).stdout)
    assert said["memory"] == 1 << 30
    assert said["size"] < 256 << 20
    program = core(lab, Path(said["file"]))
    plain = lab.state / "core.elf"
    with plain.open("rb") as file:
        told = vmcore.fields(vmcore.note_of(file.read(vmcore.HEAD)))
    # By its page tables: what lies at a virtual address is what it must be.
    names = program.read(int(told["SYMBOL(init_uts_ns)"], 16), 400)
    assert told["OSRELEASE"].encode() in names
    assert plain.stat().st_blocks * 512 < 512 << 20
    plain.unlink()
    assert status(lab)["state"] == "held"


@symbols
def test_who_waits_for_the_copy_that_is_held(lab: Lab, held: str) -> None:
    told = json.loads(lab("drgn", held, "--json", deadline=1800).stdout)
    (task,) = (task for task in told["tasks"] if task["name"].startswith("python3"))
    assert task["waits"] == "blk_execute_rq"
    (queue,) = (queue for queue in told["queues"] if queue["name"] == "nvme0n1")
    (request,) = queue["requests"]
    assert request["operation"] == "NVMe copy (19h)"
    assert told["lacking"] == {}
    # And the shell, in which the same can be asked for.
    said = lab("drgn", held, deadline=600, text="report()\nprint(prog['jiffies'])\n").stdout
    assert "waits in blk_execute_rq" in said
    assert status(lab)["state"] == "held"


def test_a_debugger_is_kept_away_while_a_copy_is_held(lab: Lab, held: str) -> None:
    said = lab("gdb", held, status=2).stderr
    assert "gdb stops the machine, which waits for that request" in said
    assert f"lab drgn {held}" in said
    assert status(lab)["state"] == "held"


@needs_gdb
def test_gdb_stops_a_guest_which_goes_on_after(lab: Lab, guest: str, vmlinux: Path) -> None:
    words = ("gdb", guest, "--symbols", str(vmlinux), "--", "-batch", "-ex", "p/x $rip")
    assert re.search(r"^\$1 = 0xffffffff[89a-f]", lab(*words).stdout, re.MULTILINE)
    assert lab("ssh", guest, "--", "echo", "goes on").stdout == "goes on\n"


@needs_gdb
def test_a_guest_goes_on_whose_debugger_was_killed_with_its_lab(
    lab: Lab, guest: str, vmlinux: Path
) -> None:
    debugging = lab.start("gdb", guest, "--symbols", str(vmlinux), "--", "-batch",
                          "-ex", "shell echo stopped",
                          "-ex", "python import time; time.sleep(600)")  # fmt: skip
    assert debugging.stdout is not None
    # One line of gdb's comes when the guest stands still.
    while "stopped" not in debugging.stdout.readline():
        assert debugging.poll() is None
    (gdb,) = Path(f"/proc/{debugging.pid}/task/{debugging.pid}/children").read_text().split()
    debugging.kill()
    os.kill(int(gdb), signal.SIGKILL)
    debugging.communicate(timeout=60)
    assert lab("ssh", guest, "--", "echo", "goes on").stdout == "goes on\n"
    directory = Path(lab.ls()[guest]["directory"])
    assert list(directory.glob("gdb.*")) == []


def test_a_copy_that_hangs_in_a_run_leaves_its_guests_memory(lab: Lab) -> None:
    args = ("--points", "write:1", "--actions", "resume", "--plant", "late-release")
    words = ("run", "nvme-copy", "copy-faults", "--json", "--")
    done = lab(*words, *args, "--hang-deadline", "3", status=1, deadline=900,
               env={"XDG_CONFIG_HOME": str(settings(lab, "run: 1"))})  # fmt: skip
    run = json.loads(done.stdout)["run"]
    (dump,) = (lab.state / "lab/runs" / run / "dumps").glob("*.elf.zst")
    # Of two that hang, the second would be one more than is allowed.
    timeline = (dump.parents[1] / "timeline.jsonl").read_text()
    events = [json.loads(line) for line in timeline.splitlines()]
    order = [event["event"] for event in events if event["event"] in ("held", "dump", "release")]
    assert order[-3:] == ["held", "dump", "release"]
    assert core(lab, dump).flags & drgn.ProgramFlags.IS_LINUX_KERNEL
    assert f"dump of 1, {dump.stat().st_size >> 20} MiB" in lab("results", "show", run).stdout
    assert f"lab drgn {run}:1" in lab("results", "show", f"{run}:1").stdout


def test_a_kernel_that_panics_in_a_run_leaves_its_memory(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(PLAIN)
    crashing = Lab(lab.state, {**lab.env, "XDG_CONFIG_HOME": str(settings(lab, "run: 1"))})
    running = crashing.start(
        "run", str(tmp_path / "plain.yaml"), "fsx", "--json", "--",
        "--seed", "1", "--cases", "1", "--ops", "400",
    )  # fmt: skip
    guest = guest_of_a_run(lab)
    lab("ssh", guest, "--", f"{AT_WORK}; exec >/dev/null 2>&1; echo c >/proc/sysrq-trigger",
        status=None)  # fmt: skip
    out, err = running.communicate(timeout=900)
    assert running.returncode == 1, err
    run = json.loads(out)
    assert run["error"] is None
    (crashed,) = run["cases"]
    assert crashed["status"] == "crashed"
    assert crashed["reason"].startswith("Kernel panic - not syncing: sysrq triggered crash")
    place = lab.state / "lab/runs" / run["run"] / "dumps"
    (dump,) = place.glob("*.elf*")
    assert json.loads((place / "001.json").read_text())["case"].endswith(crashed["name"])
    program = core(lab, dump)
    assert program.flags & drgn.ProgramFlags.IS_LINUX_KERNEL
    # It is of the moment of the panic: the last that the kernel logged is in it.
    plain = lab.state / "core.elf"
    assert b"Kernel panic - not syncing: sysrq triggered crash" in plain.read_bytes()
    plain.unlink()


def settings(lab: Lab, dumps: str) -> Path:
    """A configuration directory in which dumps are taken like that."""
    place = lab.state / "config"
    (place / "lab").mkdir(parents=True, exist_ok=True)
    (place / "lab/config.yaml").write_text(f"dumps: {{{dumps}}}\n")
    return place


HANGS = {
    "nvme-copy": {"controllers"},
    "loop-xfs-reflink": {"controllers", "loops"},
    "dm-flakey-loop": {"controllers", "loops", "mapped"},
    "target.yaml": {"controllers"},
}
"""Profiles with a copy path over nvme, loop, dm-flakey and nvmet; what a report has of each."""

TARGET = """
description: XFS on an NVMe target over a namespace, which has copies where the target has none
devices:
  - {type: nvme, serial: LABNVME0, namespaces: [{size: 512M}]}
layers:
  - {name: target, type: nvmet, over: LABNVME0}
  - {name: xfs, type: xfs, over: target, reflink: true}
"""


@symbols
@pytest.mark.parametrize("profile", HANGS)
def test_a_hang_is_told_by_the_function_that_waits(
    lab: Lab, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("target.yaml").write_text(TARGET)
    args = ("--points", "write:1", "--actions", "resume", "--plant", "late-release")
    words = ("run", profile, "copy-faults", "--json", "--", *args, "--hang-deadline", "5")
    done = lab(*words, status=1, deadline=1800,
               env={"XDG_CONFIG_HOME": str(settings(lab, "run: 1"))})  # fmt: skip
    run = json.loads(done.stdout)["run"]
    report = json.loads(lab("drgn", f"{run}:1", "--json", deadline=1800).stdout)
    # Whoever waits, waits for the request that is held at the bottom.
    assert all(task["waits"] for task in report["tasks"]) and report["tasks"]
    assert not [frame for task in report["tasks"] for frame in task["stack"] if frame[:2] == "0x"]
    (bottom,) = (queue for queue in report["queues"] if queue["name"] == "nvme0n1")
    assert [request["state"] for request in bottom["requests"]] == ["in flight"]
    assert {part for part in ("controllers", "loops", "mapped") if report[part]} == HANGS[profile]
    assert report["lacking"] == {}
    page = lab("results", "show", "latest:1").stdout
    assert f"waits in {report['tasks'][0]['waits']}" in page
