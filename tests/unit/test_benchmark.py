# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's peer: what it needs is named first, and what it says is quoted."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import vng
from benchmarks.__main__ import boots, table, warm
from lab.artifacts.kernel import Kernel
from lab.errors import HostError
from tests import ROOT

RELEASE = "6.12.0-test"


@pytest.fixture
def peer(tmp_path: Path) -> vng.Vng:
    """An installed vng that takes its answer from a script."""
    return vng.Vng(tmp_path, tmp_path / "vmlinuz", RELEASE, tmp_path / "busybox")


def answers(peer: vng.Vng, script: str) -> None:
    program = peer.binaries / "vng"
    program.write_text(f"#!/bin/sh\necho x >>{peer.binaries}/calls\n{script}\n")
    program.chmod(0o755)


def test_it_is_given_the_labs_own_busybox_and_a_terminal(peer: vng.Vng) -> None:
    wanted = f"--busybox {peer.busybox} "
    answers(peer, f'case "$*" in *"{wanted}"*) test -t 1 && echo {RELEASE};; esac')
    peer.uname()


def test_what_it_says_is_quoted_before_anything_is_measured(
    peer: vng.Vng, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(peer, "echo virtme-run: initramfs is needed, and no busybox was found; exit 1")
    kernel = Kernel("debian", "k", RELEASE, *[tmp_path] * 4)
    with pytest.raises(HostError, match=r"exit status 1: script .* uname") as caught:
        boots(kernel, peer)
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


def test_the_table_has_the_median() -> None:
    lines = table([(4.0, 10.0), (5.0, 10.0), (3.0, 10.0)], failures=2)
    assert "Median ratio: **0.40** (bound 0.45, aim 0.30)." in lines
    assert lines[-1].startswith("2 boots of vng ended without an answer")
