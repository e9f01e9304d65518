# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure, and write docs/benchmarks.md.  Run it as `make benchmark`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks import vng
from lab.artifacts.kernel import Kernel, ensure_busybox, ensure_kernel
from lab.cli.terminal import print_error
from lab.errors import HostError, LabError
from lab.host import qemu
from lab.profile.find import shipped
from lab.profile.load import load

LAB = str(Path(sys.executable).with_name("lab"))
PAGE = Path(__file__).resolve().parent.parent / "docs/benchmarks.md"
PAIRS = 5
NAME = "benchmark"


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def lab(*words: str, status: int = 0) -> str:
    """Run a lab command under TCG, as on every host without KVM; returns its stdout."""
    env = {**os.environ, "LAB_ACCEL": "tcg"}
    done = subprocess.run(
        [LAB, *words],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != status:
        raise HostError(f"lab {' '.join(words)}: status {done.returncode}", detail=done.stderr)
    return done.stdout


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


@contextmanager
def guests(count: int) -> Iterator[None]:
    """So many running guests."""
    names = [f"{NAME}-{number}" for number in range(count)]
    try:
        for name in names:
            lab("up", "nvme-copy", "--name", name)
        yield
    finally:
        for name in names:
            lab("down", name)


def boots(kernel: Kernel, peer: vng.Vng) -> list[str]:
    """`lab up` and its first SSH command against `vng -- uname -r`, in turn.

    Raises HostError, quoting vng, if it does not answer at all.
    """

    def first_command() -> None:
        lab("up", "nvme-copy", "--name", NAME)
        assert lab("ssh", NAME, "--", "uname", "-r").strip() == kernel.release

    rows: list[tuple[float, float]] = []
    failures = 0
    warm(peer)
    first_command()
    lab("down", NAME)
    for _ in range(PAIRS):
        ours = seconds(first_command)
        lab("down", NAME)
        try:
            theirs = seconds(peer.uname)
        except HostError as error:
            failures += 1
            say(f"vng did not answer, the pair is not counted: {error}")
            continue
        rows.append((ours, theirs))
        say(f"lab {ours:.2f} s, vng {theirs:.2f} s: {ours / theirs:.2f}")
    if not rows:
        raise HostError(f"vng answered none of {PAIRS} times, for the reasons above")
    return table(rows, failures)


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


def table(rows: list[tuple[float, float]], failures: int) -> list[str]:
    """Pairs of seconds with their ratio, and what became of the others."""
    lines = ["| pair | lab | vng | ratio |", "|---|---|---|---|"]
    for number, (ours, theirs) in enumerate(rows, 1):
        lines.append(f"| {number} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} |")
    ratio = median(ours / theirs for ours, theirs in rows)
    lines += ["", f"Median ratio: **{ratio:.2f}** (bound 0.45, aim 0.30)."]
    if failures:
        lines.append(f"{failures} boots of vng ended without an answer and are not counted.")
    return lines


def commands() -> list[str]:
    """The commands that must feel instant."""
    with guests(3):
        listing = median(seconds(lambda: lab("ls")) for _ in range(PAIRS))
    help_text = median(seconds(lambda: lab("--help")) for _ in range(PAIRS))
    wrong = ("up", "nvme-copy", "--set", "machine.memory=1 gig")
    refusal = median(seconds(lambda: lab(*wrong, status=2)) for _ in range(PAIRS))
    say(f"--help {help_text:.3f} s, ls {listing:.3f} s, refusal {refusal:.3f} s")
    return [
        "| command | median of 5 | bound |",
        "|---|---|---|",
        f"| `lab --help` | {help_text:.2f} s | 0.2 s |",
        f"| `lab ls`, three guests | {listing:.2f} s | 0.5 s |",
        f"| `lab {' '.join(wrong[:3])} '{wrong[3]}'`: a profile error | {refusal:.2f} s | 0.3 s |",
    ]


def profiles() -> list[str]:
    """Every profile that ships: up, verified, down, in a row."""
    lines = ["| profile | up | verify | down | all | bound |", "|---|---|---|---|---|---|"]
    for path in shipped():
        name = path.stem
        spent = [
            seconds(lambda words=words: lab(*words))  # type: ignore[misc]
            for words in (
                ("up", name),
                ("ssh", name, "--", "layers", "verify"),
                ("down", name),
            )
        ]
        say(f"{name} {sum(spent):.1f} s")
        bound = 40 if load(name).peer else 25
        cells = " | ".join(f"{each:.1f} s" for each in (*spent, sum(spent)))
        lines.append(f"| {name} | {cells} | {bound} s |")
    return lines


def points() -> list[str]:
    """Fault points a minute, boot not counted, for all actions that leave the guest alive."""
    lines = ["| ranges | cases | seconds | points a minute |", "|---|---|---|---|"]
    for ranges in (4, 16):
        alive = ("--ranges", str(ranges), "--blocks", "64", "--actions", "resume,eio,enospc,torn")
        cases = json.loads(lab("run", "nvme-copy", "copy-faults", "--json", "--", *alive))["cases"]
        spent = sum(case["seconds"] for case in cases)
        rate = len(cases) / spent * 60
        say(f"{len(cases)} cases in {spent:.2f} s")
        lines.append(f"| {ranges} | {len(cases)} | {spent:.2f} | {rate:.0f} (bound 120) |")
    return lines


def main() -> None:
    """Measure everything and write the page.  Raises HostError."""
    vng.check_host()
    kernel = ensure_kernel("debian", say)
    peer = vng.prepare(kernel, ensure_busybox(say).path / "busybox")
    binary = qemu.binary()
    page = [
        "# Benchmarks",
        "",
        "Written by `make benchmark`, which measures all of it in one run on one machine; only",
        "the ratios mean anything elsewhere.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, QEMU {qemu.version(binary)}, TCG,",
        f"kernel {kernel.release}, {vng.REQUIREMENT}.",
        "",
        "## From nothing to the first command",
        "",
        "`lab up nvme-copy && lab ssh nvme-copy -- uname -r` against `vng --run … -- uname -r`:",
        "the same kernel, two CPUs, 1 GiB, TCG, in turn. vng boots the package's bzImage on the",
        "host's root file system; the lab the ELF image inside it on a root of its own, with the",
        "NVMe device, and its second command includes an SSH handshake.",
        "",
        *boots(kernel, peer),
        "",
        "## Commands",
        "",
        *commands(),
        "",
        "## Profiles",
        "",
        "`lab up PROFILE`, `lab ssh PROFILE -- layers verify`, `lab down PROFILE`, one after the",
        "other. Verifying writes, reads back and copies on everything that nothing stands on.",
        "",
        *profiles(),
        "",
        "## Fault points",
        "",
        "`lab run nvme-copy copy-faults --json -- --actions resume,eio,enospc,torn`, the sum of",
        "the cases' `seconds`: tag, freeze, act, release, read the medium, copy again, judge.",
        "",
        *points(),
    ]
    PAGE.write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print_error(error)
        sys.exit(error.exit_status)
