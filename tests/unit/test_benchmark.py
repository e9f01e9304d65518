# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's peer: what it needs is named first, and what it says is quoted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measure, vng
from benchmarks.builds import Build
from benchmarks.measure import Pair, in_turn, ratio, table
from benchmarks.page import Figure
from benchmarks.parts import PARTS, knobs
from benchmarks.parts.peer import section, warm
from benchmarks.spent import Spent, cpu, spending
from lab.errors import HostError
from tests import ROOT
from tests.unit.builders import python, said

RELEASE = "6.12.0-test"


@pytest.fixture
def peer(tmp_path: Path) -> vng.Vng:
    """An installed vng that takes its answer from a script."""
    return vng.Vng(tmp_path, tmp_path / "vmlinuz", RELEASE, tmp_path / "busybox")


def answers(peer: vng.Vng, script: str) -> None:
    program = peer.binaries / "vng"
    program.write_text(f"#!/bin/sh\necho x >>{peer.binaries}/calls\n{script}\n")
    program.chmod(0o755)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process have servers that go on: nothing waits for their end."""
    monkeypatch.setattr(measure, "descendants_ended", lambda: True)


def test_it_is_given_the_labs_own_busybox_and_a_terminal(peer: vng.Vng) -> None:
    wanted = f"--busybox {peer.busybox} "
    answers(peer, f'case "$*" in *"{wanted}"*) test -t 1 && echo {RELEASE};; esac')
    peer.uname()


def test_what_it_says_is_quoted_before_anything_is_measured(
    peer: vng.Vng, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(peer, "echo virtme-run: initramfs is needed, and no busybox was found; exit 1")
    with pytest.raises(HostError, match=r"exit status 1: script .* uname") as caught:
        warm(peer)
    assert caught.value.detail == "virtme-run: initramfs is needed, and no busybox was found"
    assert "no busybox was found" in capsys.readouterr().err
    assert (peer.binaries / "calls").read_text() == "x\nx\n"


def test_another_answer_is_none(peer: vng.Vng) -> None:
    answers(peer, "echo 5.10.0")
    with pytest.raises(HostError, match=f"no {RELEASE} in what it said") as caught:
        peer.uname()
    assert caught.value.detail == "5.10.0"


def test_a_boot_without_an_answer_is_quoted_too(
    peer: vng.Vng, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vng, "DEADLINE", 1.0)
    answers(peer, "echo Kernel panic; sleep 60")
    with pytest.raises(HostError, match="no end after 1 s") as caught:
        peer.uname()
    assert caught.value.detail == "Kernel panic"


def test_one_boot_in_vain_is_forgiven(peer: vng.Vng) -> None:
    answers(peer, f"test $(wc -l <{peer.binaries}/calls) = 2 && echo {RELEASE}")
    warm(peer)


def test_a_guest_that_fails_in_silence_is_asked_to_speak(peer: vng.Vng) -> None:
    answers(peer, 'case "$*" in *" --verbose -- "*) echo Kernel panic;; esac; exit 255')
    with pytest.raises(HostError, match="exit status 255") as caught:
        warm(peer)
    assert caught.value.detail == "Kernel panic"


def test_what_the_host_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    udevd = tmp_path / "systemd-udevd"
    monkeypatch.setattr(vng, "UDEVD", (tmp_path / "none", udevd))
    with pytest.raises(HostError, match="sudo apt-get install udev"):
        vng.check_host()
    udevd.touch()
    vng.check_host()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="sudo apt-get install bsdutils"):
        vng.check_host()


def test_setup_installs_what_the_benchmark_needs(tmp_path: Path) -> None:
    """With nothing to be found on PATH, and an apt-get that only says what it was asked."""
    script, _, _ = (ROOT / "scripts/setup").read_text().partition("if ! python3")
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho apt-get $*\n")
    apt.chmod(0o755)
    for program in ("id", "dirname", "tr", "cat", "env", "sh"):
        found = next(Path(place) / program for place in os.environ["PATH"].split(":")
                     if (Path(place) / program).exists())  # fmt: skip
        (tmp_path / program).symlink_to(found)
    script = script.replace("$PATH:/usr/sbin:/sbin", "$PATH")
    script = re.sub(r"/(usr/)?lib/systemd", str(tmp_path), script)
    script = script.replace("sudo=sudo", "sudo=")
    for purpose, needed in (("", False), ("benchmark", True)):
        done = subprocess.run(
            ["/bin/sh", "-c", script, "setup", purpose],
            env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        (asked,) = [line for line in done.stdout.splitlines() if "apt-get install" in line]
        assert ("bsdutils" in asked, "udev" in asked.split()) == (needed, needed)


def test_pairs_in_which_the_peer_did_not_answer_are_told_and_not_counted() -> None:
    found = section([(Spent(4, 1), Spent(10, 4)), (Spent(9, 1), None)], ["1 boot ended."])
    (figure,) = found.figures
    assert figure.value == pytest.approx(0.4)
    assert "| 1 | 4.00 s | 10.00 s | 0.40 | 1.00 s | 4.00 s | 0.25 |" in found.lines
    assert "| 2 | 9.00 s | - | - | 1.00 s | - | - |" in found.lines
    assert found.lines[-1] == "1 boot ended."


def test_a_peer_that_never_answers_leaves_no_figure() -> None:
    (figure,) = section([(Spent(4, 1), None)], ["vng does not answer here: no udevd"]).figures
    assert "| not measured | ≤ 0.15 | ≤ 0.10 |" in figure.row()


def test_a_figure_says_which_way_its_bound_is() -> None:
    rate = Figure("cases a minute", 6.25, 5, 10, least=True)
    assert rate.row() == "| cases a minute | **6.25** | ≥ 5.00 | ≥ 10.0 |"
    assert (
        Figure("memory", 118.4, 120, unit=" MB").row() == "| memory | **118 MB** | ≤ 120 MB | - |"
    )


PAIRS = [Pair(Spent(10, 8), Spent(now, 1)) for now in (4, 5, 3)]


def test_the_table_has_the_median() -> None:
    assert ratio(PAIRS) == pytest.approx(0.4)
    lines = table(PAIRS)
    assert lines[2] == "| 1 | 10.00 s | 4.00 s | 0.40 | 8.00 s | 1.00 s | 0.12 |"
    assert lines[-1] == "Median ratio: 0.40, of CPU seconds 0.12."


def test_neither_lab_is_always_the_first() -> None:
    before, now = (Build(name, Path(), ()) for name in ("before", "now"))
    order: list[str] = []

    def work(build: Build) -> Spent:
        order.append(build.name)
        return Spent(1, 1)

    in_turn("nothing", before, now, work, 2)
    assert order == ["before", "now", "now", "before"]


def test_what_fails_once_is_told_and_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab").symlink_to("/bin/true")
    before, now = (Build(name, tmp_path, ()) for name in ("before", "now"))
    failures = [HostError("SSH: no answer")]

    def work(_build: Build) -> Spent:
        if failures:
            raise failures.pop()
        return Spent(1, 1)

    assert len(in_turn("copies", before, now, work, 1)) == 1
    assert "copies: once more: SSH: no answer" in capsys.readouterr().err

    def never(_build: Build) -> Spent:
        raise HostError("SSH: no answer")

    with pytest.raises(HostError):
        in_turn("copies", before, now, never, 1)


BUSY = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_what_a_child_used_is_counted_while_it_lives_and_afterwards() -> None:
    with spending() as spent, python(BUSY + "print('done', flush=True)\ninput()") as child:
        assert said(child) == "done"
        alive = cpu()
        child.communicate("\n")
        assert cpu() >= alive - 0.02
    assert 0.25 < spent.cpu < 5


def test_a_knob_is_qemu_with_other_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    echo = tmp_path / "echo"
    echo.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    echo.chmod(0o755)
    monkeypatch.setattr("lab.host.qemu.binary", lambda: str(echo))
    words = ["-machine", "q35,accel=tcg,sata=off", "-cpu", "max", "-name", "guest=a b"]
    for name, wanted in {
        "as it is": words,
        "-cpu max,la57=off": [*words[:3], "max,la57=off", *words[4:]],
        "tb-size 64": ["-machine", "q35,sata=off", "-accel", "tcg,tb-size=64", *words[2:]],
    }.items():
        program = knobs._program(name, knobs.KNOBS[name])
        done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == wanted


def test_every_part_can_be_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in done.stdout for name in PARTS)
