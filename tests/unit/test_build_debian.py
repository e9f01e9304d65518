# SPDX-License-Identifier: GPL-2.0-or-later
"""mmdebstrap is run, judged and ended; a program of that name in PATH stands in for it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.artifacts import debian
from lab.errors import HostError
from lab.host import dirs, settings
from lab.host.command import uninterrupted


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in's path, to be filled with a shell script; scratch goes below tmp_path."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(debian, "check_host", lambda: None)
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def scratch_of(program: Path) -> list[Path]:
    return list((program.parent.parent / "tmp").iterdir())


def test_what_mmdebstrap_is_told(fake: Path, tmp_path: Path) -> None:
    write(fake, f'printf "%s\\n" "$@" "$TMPDIR" >{tmp_path}/said')
    debian.mmdebstrap(["--include=bash"], "trixie", tmp_path / "x.tar", scratch="test")
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == ("--mode=root" if os.getuid() == 0 else "--mode=unshare")
    assert said[-5:-1] == ["--include=bash", "--format=tar", "trixie", str(tmp_path / "x.tar")]
    assert said[-1] == str(tmp_path / f"tmp/lab-{os.getuid()}-test")
    assert scratch_of(fake) == []


@pytest.mark.parametrize(
    ("log", "cure"),
    [
        ("E: Failed to fetch x", "mirror"),
        ("E: apt-get update --error-on=any failed", "mirror"),
        ("I: running apt-get update...", None),
        ("E: Version '1:9' for 'qemu' was not found", "no qemu of version 1:9"),
        ("E: Unable to locate package qemv", "no package qemv"),
        ("E: unshare() failed", "user namespaces"),
        ("W: NO_PUBKEY 1", "debian-archive-keyring"),
        ("dpkg: No space left on device", "TMPDIR"),
        ("E: command failed: frobnicate", None),
    ],
)
def test_a_failure_says_what_to_do(fake: Path, log: str, cure: str | None) -> None:
    write(fake, f'mkdir "$TMPDIR/tree"; echo "{log}" >&2; exit 25')
    with pytest.raises(HostError) as caught:
        debian.mmdebstrap([], "trixie", None, scratch="test")
    assert "exit status 25" in caught.value.message
    assert caught.value.detail == log
    assert (cure in caught.value.hint) if cure else not caught.value.hint
    assert scratch_of(fake) == []


EXPIRED = (
    "E: Release file for https://deb.example.org/debian/dists/sid/InRelease is expired"
    " (invalid since 22d 21h 35min 48s). Updates for this repository will not be applied.\n"
    "E: apt-get update --error-on=any failed"
)


def test_a_release_file_that_ran_out_is_told_with_its_cure(fake: Path) -> None:
    write(fake, f"echo '{EXPIRED}' >&2; exit 25")
    with pytest.raises(HostError) as caught:
        debian.mmdebstrap([], "sid", None, scratch="test")
    hint = caught.value.hint
    assert "ended 22d 21h 35min 48s ago: the mirror lags, or this host's clock" in hint
    assert f"accept_expired: true}}` in {dirs.config(settings.FILE)}" in hint


def test_a_release_file_of_the_future_is_this_hosts_clock(fake: Path) -> None:
    said = EXPIRED.replace("expired (invalid since", "not valid yet (invalid for another")
    write(fake, f"echo '{said}' >&2; exit 25")
    with pytest.raises(HostError) as caught:
        debian.mmdebstrap([], "sid", None, scratch="test")
    assert "is behind: set it" in caught.value.hint
    assert "accept" not in caught.value.hint


@pytest.mark.parametrize("accepted", [False, True])
def test_an_expired_release_file_is_accepted_where_the_settings_say_so(
    fake: Path, tmp_path: Path, accepted: bool
) -> None:
    path = dirs.config(settings.FILE)
    path.parent.mkdir(parents=True)
    path.write_text(f"debian: {{accept_expired: {str(accepted).lower()}}}\n")
    write(fake, f'printf "%s\\n" "$@" >{tmp_path}/said')
    debian.mmdebstrap([], "sid", None, scratch="test")
    option = '--aptopt=Acquire::Check-Valid-Until "false"'
    assert (option in (tmp_path / "said").read_text().splitlines()) == accepted


def test_backports_are_unpacked_with_the_suite_below_them(fake: Path, tmp_path: Path) -> None:
    write(
        fake,
        f"""printf "%s\\n" "$@" >{tmp_path}/said
mkdir -p "$TMPDIR/etc/apt/sources.list.d"
printf 'deb http://a.example/debian trixie main\\ndeb http://a.example/s trixie-security main\\n' \
    >"$TMPDIR/etc/apt/sources.list"
for word; do case $word in --setup-hook=*) sh -c "${{word#*=}}" sh "$TMPDIR";; esac; done
cp "$TMPDIR/etc/apt/sources.list.d/backports.list" {tmp_path}/list""",
    )
    debian.extract(["qemu", "coreutils"], "trixie-backports", tmp_path / "x.tar", version="1:11")
    said = (tmp_path / "said").read_text().splitlines()
    assert said[-2] == "trixie"
    assert "--include=qemu=1:11,coreutils" in said
    assert '--aptopt=APT::Default-Release "trixie-backports"' in said
    listed = (tmp_path / "list").read_text()
    assert listed == "deb http://a.example/debian trixie-backports main\n"


def test_a_package_that_is_wanted_twice_at_once_is_unpacked_twice(
    fake: Path, tmp_path: Path
) -> None:
    # As two names of one kernel are: each has an artifact of its own.
    write(fake, 'echo x >"$TMPDIR/tree"; sleep 0.3; rm "$TMPDIR/tree"')
    with ThreadPoolExecutor() as pool:
        done = [
            pool.submit(debian.extract, ["bash"], "sid", tmp_path / f"{number}.tar")
            for number in range(3)
        ]
        assert [each.result(timeout=60) for each in done] == [None] * 3
    assert scratch_of(fake) == []


def test_a_scratch_directory_of_somebody_else_is_refused(fake: Path, tmp_path: Path) -> None:
    write(fake, "exit 0")
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / f"tmp/lab-{os.getuid()}-test").symlink_to(victim)
    with pytest.raises(HostError, match="belongs to somebody else"):
        debian.mmdebstrap([], "trixie", None, scratch="test")
    assert victim.is_dir()


def test_what_a_killed_build_left_is_removed_first(fake: Path, tmp_path: Path) -> None:
    write(fake, f'ls -A "$TMPDIR" >{tmp_path}/found')
    left = tmp_path / f"tmp/lab-{os.getuid()}-test/tree/usr"
    left.mkdir(parents=True)
    debian.mmdebstrap([], "trixie", None, scratch="test")
    assert (tmp_path / "found").read_text() == ""


def test_sub_ids_of_each_user_end_after_the_last_range(tmp_path: Path) -> None:
    table = tmp_path / "subuid"
    table.write_text("ann:100000:65536\nbob:165536:10\nann:300000:5\n")
    assert debian._sub_ids(table) == {"ann": 300005, "bob": 165546}
    assert debian._sub_ids(tmp_path / "none") == {}


BUILD = """
import signal, sys
from lab.artifacts import debian
# As the lab does: a shell's background job is born with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
debian.check_host = lambda: None
debian.mmdebstrap([], "trixie", None, scratch="test")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_children_end_with_the_lab(fake: Path, tmp_path: Path, number: int) -> None:
    new, child = tmp_path / "child.new", tmp_path / "child"
    write(fake, f"sleep 300 & echo $! >{new}; mv {new} {child}; wait")
    lab = subprocess.Popen([sys.executable, "-c", BUILD], stderr=subprocess.DEVNULL)
    try:
        _wait_until(child.exists)
        pid = int(child.read_text())
        assert _alive(pid)
        lab.send_signal(number)
        assert lab.wait(20) != 0
        _wait_until(lambda: not _alive(pid))
    finally:
        lab.kill()
        lab.wait()
    if number == signal.SIGINT:
        assert scratch_of(fake) == []


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT as Python has it, and not as a command of the lab that ran in this process left it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_is_started_has_an_owner_before_ctrl_c_is_heard(ctrl_c: None) -> None:
    started = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        started.append("a program")
    assert started
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _wait_until(condition: Callable[[], bool], deadline: float = 15) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "deadline passed"
        time.sleep(0.02)
