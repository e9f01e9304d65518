# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab up` and its first command over SSH, against virtme-ng on the same kernel."""

from statistics import median

from benchmarks import vng
from benchmarks.labs import Labs
from benchmarks.measure import say, settled
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent, spending
from lab.artifacts.kernel import Kernel, ensure_busybox, ensure_kernel
from lab.errors import HostError

NAME = "benchmark"
WHAT = "lab up and lab ssh, to virtme-ng"
_BOUND, _AIM = 0.15, 0.10

_ABOUT = [
    "`lab up nvme-copy && lab ssh nvme-copy -- uname -r` against `vng --run … -- uname -r`:",
    f"{vng.REQUIREMENT}, the same kernel, two CPUs, 1 GiB, TCG, in turn. vng boots the package's",
    "bzImage on the host's root file system; the lab begins from a checkpoint, with the NVMe",
    "device, and its second command goes over the guest's virtio-serial port.",
    "",
]


def measure(labs: Labs, rounds: int) -> Section:
    """Both, in turn.  A peer that does not answer here is told, and no failure of the lab."""
    kernel = ensure_kernel("debian", say)
    try:
        vng.check_host()
        other = vng.prepare(kernel, ensure_busybox(say).path / "busybox")
        warm(other)
    except HostError as error:
        other, said = None, [f"vng does not answer here: {error.message}"]
    rows, failures = [], 0
    for _ in range(rounds):
        ours = _first_command(labs, kernel)
        theirs = _answer(other) if other else None
        failures += theirs is None
        rows.append((ours, theirs))
    settled()
    if other:
        said = [f"{failures} boots of vng ended without an answer."] if failures else []
    return section(rows, said)


def warm(peer: vng.Vng) -> None:
    """Warm the page cache, before anything is measured, and see that the peer works here.

    Raises HostError, quoting it, when it fails twice: some boots of vng end without an answer.
    """
    try:
        peer.uname()
    except HostError as error:
        say(f"vng did not answer; once more: {error}")
        # A guest that fails is silent without it.
        peer.uname("--verbose")


def section(rows: list[tuple[Spent, Spent | None]], said: list[str]) -> Section:
    """The pairs, and what is to be said of those that are none."""
    lines = ["| pair | lab | vng | ratio | CPU of lab | CPU of vng | ratio |", "|---" * 7 + "|"]
    for number, (ours, theirs) in enumerate(rows, 1):
        cells = [f"{ours.clock:.2f} s", "-", "-", f"{ours.cpu:.2f} s", "-", "-"]
        if theirs:
            cells[1:3] = f"{theirs.clock:.2f} s", f"{ours.clock / theirs.clock:.2f}"
            cells[4:6] = f"{theirs.cpu:.2f} s", f"{ours.cpu / theirs.cpu:.2f}"
        lines.append(f"| {number} | {' | '.join(cells)} |")
    ratios = [ours.clock / theirs.clock for ours, theirs in rows if theirs]
    found = median(ratios) if ratios else None
    told = [f"Median ratio: {found:.2f}."] if found is not None else []
    return Section(
        "From nothing to the first command",
        [Figure(WHAT, found, _BOUND, _AIM)],
        [*_ABOUT, *lines, "", *told, *said],
    )


def _first_command(labs: Labs, kernel: Kernel) -> Spent:
    _, up = labs.now.lab("up", "nvme-copy", "--name", NAME)
    out, ssh = labs.now.lab("ssh", NAME, "--", "uname", "-r")
    labs.now.lab("down", NAME)
    assert out.strip() == kernel.release
    say(f"lab {(up + ssh).clock:.2f} s")
    return up + ssh


def _answer(peer: vng.Vng) -> Spent | None:
    try:
        with spending() as spent:
            peer.uname()
    except HostError as error:
        say(f"vng did not answer, the pair is not counted: {error}")
        return None
    say(f"vng {spent.clock:.2f} s")
    return spent
