# SPDX-License-Identifier: GPL-2.0-or-later
"""The host: other programs, processes, locks, directories, and how QEMU's end is told."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.errors import GuestError, GuestGone, HostError
from lab.host import dirs, lock, qemu
from lab.host.command import missing, run, tail
from lab.host.process import Brood, Process, me, working_in
from lab.vm.argv import CONSOLE_LOG, PID_FILE
from lab.vm.ending import EXIT_STATUS, STDERR, ending
from lab.vm.machine import Machine
from lab.vm.walls import Reach
from tests.unit.builders import gone, idle, python, said, until

# --- command ------------------------------------------------------------------------------


def test_a_program_returns_what_it_printed() -> None:
    assert run(["printf", "%s|", "a b", "$HOME", Path("/x")], deadline=10) == "a b|$HOME|/x|"


def test_a_program_runs_where_it_is_told(tmp_path: Path) -> None:
    assert run(["pwd", "-P"], deadline=10, cwd=tmp_path) == f"{tmp_path.resolve()}\n"


def test_a_program_takes_nothing_of_what_is_typed() -> None:
    code = "from lab.host.command import run; print(run(['cat'], deadline=5) + '|', input())"
    with python(code) as lab:
        out, err = lab.communicate("typed\n", timeout=20)
    assert (out, err) == ("| typed\n", "")


@pytest.mark.parametrize(
    ("program", "release", "cure"),
    [
        ("qemu-img", {"ID": "debian"}, "sudo apt-get install qemu-utils"),
        ("qemu-img", {"ID": "fedora"}, "sudo dnf install qemu-img"),
        ("mkfs.erofs", {"ID": "mint", "ID_LIKE": "ubuntu debian"},
         "sudo apt-get install erofs-utils"),
    ],
)  # fmt: skip
def test_a_missing_program_is_named_with_what_installs_it_and_what_tells_of_more(
    program: str,
    release: dict[str, str],
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        run([program], deadline=10)
    assert caught.value.message == f"{program}: not found"
    assert caught.value.hint == f"{cure}; `lab doctor` tells of all that this host lacks"


def test_a_missing_program_that_no_package_is_known_for_has_no_such_command() -> None:
    hint = "`lab doctor` tells of all that this host lacks"
    assert missing("no-such-program").hint == missing("/opt/qemu").hint == hint


def test_a_missing_directory_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"/nowhere: no such directory"):
        run(["true"], deadline=10, cwd=tmp_path / "nowhere")


def test_a_failure_has_exit_status_command_and_stderr() -> None:
    with pytest.raises(HostError) as caught:
        run(["sh", "-c", "echo out; echo 'the reason' >&2; exit 3"], deadline=10, hint="do this")
    error = caught.value
    assert (
        error.message
        == "exit status 3: sh -c 'echo out; echo '\"'\"'the reason'\"'\"' >&2; exit 3'"
    )
    assert error.detail == "the reason"
    assert error.hint == "do this"


def test_a_failure_without_stderr_quotes_stdout() -> None:
    with pytest.raises(HostError) as caught:
        run(["sh", "-c", "echo 'only here'; exit 1"], deadline=10)
    assert caught.value.detail == "only here"


def test_a_failure_quotes_the_end_of_a_long_stderr() -> None:
    with pytest.raises(HostError) as caught:
        run(["sh", "-c", "seq 100 >&2; exit 1"], deadline=10)
    assert caught.value.detail.splitlines() == [str(number) for number in range(86, 101)]
    assert tail("") == ""


def test_a_program_that_overruns_its_deadline_is_killed(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(HostError, match="no end after 0 s: sh -c") as caught:
        run(["sh", "-c", "echo stuck >&2; exec sleep 30"], deadline=0.1, cwd=tmp_path)
    assert time.monotonic() - start < 5
    assert caught.value.detail == "stuck"
    assert working_in(tmp_path, "30") == []


def test_a_program_that_overruns_its_deadline_takes_its_children_with_it(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(HostError, match="no end after"):
        run(["sh", "-c", "sleep 30; true"], deadline=0.1, cwd=tmp_path)
    assert time.monotonic() - start < 5
    left = working_in(tmp_path, "30")
    for process in left:
        process.kill()
    assert left == []


def test_a_deadline_holds_whatever_a_daemon_keeps_open() -> None:
    start = time.monotonic()
    with pytest.raises(HostError, match="no end after"):
        run(["sh", "-c", "setsid sleep 3 & sleep 3"], deadline=0.1)
    assert time.monotonic() - start < 2


def test_an_interrupted_program_is_killed_too(tmp_path: Path) -> None:
    code = """
        import signal, sys
        from pathlib import Path
        from lab.host.command import run
        signal.alarm(20)
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
        print("ready", flush=True)
        run(["sleep", "30"], deadline=60, cwd=Path(sys.argv[1]))
    """
    with python(code, tmp_path) as lab:
        assert said(lab) == "ready"
        until(lambda: working_in(tmp_path, "30") != [])
        time.sleep(0.2)  # until Popen itself has returned
        lab.send_signal(signal.SIGUSR1)
        assert lab.wait(10) == 7
    left = working_in(tmp_path, "30")
    for process in left:
        process.kill()
    assert left == []


def test_programs_for_root_are_found_without_sbin_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "kmod" in run(["depmod", "--version"], deadline=10)


def test_a_file_that_may_not_be_executed_is_a_host_error(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(HostError, match="Permission denied"):
        run([program], deadline=10)


def test_a_file_that_cannot_be_executed_is_a_host_error(tmp_path: Path) -> None:
    # Such as a QEMU for another architecture, or one whose download was cut off.
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    with pytest.raises(HostError, match="Exec format error"):
        run([program], deadline=10)


# --- process ------------------------------------------------------------------------------


def test_a_process_is_known_until_it_ends() -> None:
    with idle() as process:
        assert process.alive()
        assert Process.of(process.pid) == process
        process.kill()
        # Its parent, this test, has not collected it yet: it is a zombie.
        assert not process.alive()
        assert Process.of(process.pid) is None


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_old_one() -> None:
    with idle() as new:
        old = Process(new.pid, new.started - 1)
        assert not old.alive()
        old.kill()
        time.sleep(0.05)  # a signal takes effect soon, not at once
        assert new.alive()


def test_a_name_with_spaces_and_parentheses_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    shutil.copy("/bin/sleep", program)
    plain = subprocess.Popen(["sleep", "30"])
    odd = subprocess.Popen([program, "30"])
    try:
        found, other = Process.of(odd.pid), Process.of(plain.pid)
        assert found is not None and other is not None
        assert 0 <= found.started - other.started < 1000
    finally:
        for process in (plain, odd):
            process.kill()
            process.wait()


def test_nobody_has_a_pid_that_nobody_has() -> None:
    assert Process.of(2**22 + 1) is None


def test_a_later_process_has_a_later_start() -> None:
    with idle() as process:
        assert me().started < process.started


def test_a_process_that_dies_meanwhile_is_as_good_as_killed() -> None:
    with idle() as process:
        process.kill()
        process.kill()


def test_processes_are_found_by_their_working_directory_and_an_argument(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    with idle(tmp_path, "one") as here, idle(tmp_path / "inner", "one"), idle(tmp_path, "one more"):
        assert working_in(tmp_path, "one") == [here]
        assert working_in(tmp_path / "link", "one") == [here]


# --- lock ---------------------------------------------------------------------------------

HOLD = """\
import sys
from pathlib import Path
from lab.host.lock import held
with held(Path(sys.argv[1]), deadline=5):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    waited: list[Path] = []
    path = tmp_path / "lock"
    with python(HOLD, path) as owner:
        assert said(owner) == "held"
        with (
            pytest.raises(HostError, match=rf"lock: another lab \(pid {owner.pid}\) holds"),
            lock.held(path, deadline=0.12, on_wait=waited.append),
        ):
            pass
    assert waited == [path]


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with python(HOLD, path) as owner:
        assert said(owner) == "held"
        owner.kill()
        owner.wait()
        with lock.held(path, deadline=0):
            assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with python(HOLD, path) as owner:
        assert said(owner) == "held"
        with lock.held(path, deadline=10, on_wait=lambda _: owner.kill()):
            pass


def test_a_free_lock_is_not_waited_for(tmp_path: Path) -> None:
    waited: list[Path] = []
    for _ in range(2):
        with lock.held(tmp_path / "lock", deadline=0, on_wait=waited.append):
            pass
    assert waited == []


def test_a_lock_that_cannot_be_made_is_a_host_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write"), lock.held(tmp_path, deadline=0):
        pass


# --- dirs ---------------------------------------------------------------------------------


def test_directories_are_below_the_xdg_ones(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dirs.state("guests") == home / ".local/state/lab/guests"
    assert dirs.cache() == home / ".cache/lab"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert dirs.state("a", "b") == tmp_path / "s/lab/a/b"
    assert dirs.cache() == tmp_path / "c/lab"


def test_directories_are_made_for_this_user_alone() -> None:
    assert dirs.state("guests").stat().st_mode & 0o777 == 0o700


def test_the_configuration_directory_is_never_made(home: Path) -> None:
    assert not dirs.config("profiles").exists()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("blocked", [".local", ".local/state/lab", ".local/state/lab/guests"])
def test_a_file_in_place_of_a_directory_is_a_host_error(home: Path, blocked: str) -> None:
    (home / blocked).parent.mkdir(parents=True, exist_ok=True)
    (home / blocked).write_text("")
    with pytest.raises(HostError, match=r"cannot write /.*guests: ") as caught:
        dirs.state("guests")
    assert "XDG_STATE_HOME" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
@pytest.mark.parametrize("exists", [True, False])
def test_a_directory_of_somebody_else_is_a_host_error(home: Path, exists: bool) -> None:
    parent = home / ".local/state/lab" if exists else home
    parent.mkdir(parents=True, exist_ok=True)
    parent.chmod(0o500)
    try:
        with pytest.raises(HostError, match="Permission denied") as caught:
            dirs.state()
        assert "make it writable" in caught.value.hint
    finally:
        parent.chmod(0o700)


ASK = """\
from lab.errors import HostError
from lab.host import dirs
try:
    print(dirs.state(*{parts}))
except HostError as error:
    print(error)
"""


@pytest.mark.parametrize("parts", [(), ("guests",)])
def test_a_read_only_file_system_is_a_host_error(parts: tuple[str, ...]) -> None:
    namespace = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace here")
    state = dirs.state()
    script = f'mount -t tmpfs -o ro none {state} && exec "$0" -c "$1"'
    words = [*namespace, "sh", "-c", script, sys.executable, ASK.format(parts=parts)]
    answer = run(words, deadline=20)
    assert answer.startswith(f"cannot write {state.joinpath(*parts)}: ")
    assert "set XDG_STATE_HOME and XDG_CACHE_HOME" in answer


# --- QEMU ---------------------------------------------------------------------------------


def program(path: Path, script: str) -> Path:
    """A program that does what a shell script says."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_lab_qemu_names_another_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = program(tmp_path / "my-qemu", "echo QEMU emulator version 9.9.9 '(Debian 1:9.9)'")
    monkeypatch.setenv("LAB_QEMU", str(other))
    assert qemu.binary() == str(other)
    assert qemu.version(str(other)) == "9.9.9 (Debian 1:9.9)"


def test_without_qemu_its_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="qemu-system-x86_64: not found") as caught:
        qemu.binary()
    assert "install qemu-system-x86; `lab doctor` " in caught.value.hint


def test_the_accelerator_can_be_forced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, why in (("kvm", ""), ("tcg", "LAB_ACCEL=tcg")):
        monkeypatch.setenv("LAB_ACCEL", name)
        found = qemu.accelerator("/nowhere/qemu", tmp_path / "vmlinux")
        assert (found.name, found.why) == (name, why)


PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"


@pytest.mark.parametrize(
    ("script", "name", "why"),
    [
        (f"echo 'booting'; echo '{PANIC}'", "kvm", ""),
        ("echo 'failed to initialize kvm: Permission denied' >&2; exit 1", "tcg",
         "failed to initialize kvm: Permission denied"),
        ("exit 1", "tcg", "no output"),
    ],
)  # fmt: skip
def test_kvm_counts_only_if_a_kernel_ran_under_it(
    tmp_path: Path, script: str, name: str, why: str
) -> None:
    found = qemu.probe(str(program(tmp_path / "qemu", script)), tmp_path / "vmlinux")
    assert found.name == name
    assert found.why.endswith(why)


def test_a_kernel_that_hangs_under_kvm_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_PROBE_DEADLINE", 0.2)
    stuck = program(tmp_path / "qemu", "echo Booting; echo '[ 0.1] last words'; exec sleep 30")
    found = qemu.probe(str(stuck), tmp_path / "vmlinux")
    assert found.name == "tcg"
    assert found.why.endswith("last console line: [ 0.1] last words")


def launched(directory: Path, *argv: str) -> HostError:
    """How the launch of something that is no QEMU is reported."""
    with pytest.raises(HostError) as caught:
        Machine.launch(directory, argv, Reach((), (), 1 << 30))
    return caught.value


def test_a_qemu_that_ends_at_start_is_quoted_with_its_exit_status(tmp_path: Path) -> None:
    words = "qemu: -device nope: 'nope' is not a valid device model name"
    error = launched(tmp_path, str(program(tmp_path / "qemu", f'echo "{words}" >&2; exit 1')))
    assert error.message == "QEMU ended with exit status 1 at start"
    assert words in error.detail
    assert "LAB_QEMU" in error.hint


def test_a_qemu_that_is_killed_at_start_is_told_by_its_signal(tmp_path: Path) -> None:
    error = launched(tmp_path, str(program(tmp_path / "qemu", "kill -9 $$")))
    assert error.message == "QEMU was killed by signal 9 at start"


def test_a_qemu_that_is_missing_at_start_is_reported_as_missing(tmp_path: Path) -> None:
    assert (
        launched(tmp_path, "qemu-system-x86_64-none").message
        == missing("qemu-system-x86_64-none").message
    )


def test_what_an_earlier_qemu_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    with idle() as earlier:
        (tmp_path / PID_FILE).write_text(f"{earlier.pid}\n")
        (tmp_path / EXIT_STATUS).write_text("139\n")
        error = launched(tmp_path, str(program(tmp_path / "qemu", "exit 4")))
        assert error.message == "QEMU ended with exit status 4 at start"
        assert earlier.alive()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("0\n", "ended with exit status 0"),
        ("1\n", "ended with exit status 1"),
        ("128\n", "ended with exit status 128"),
        ("137\n", "was killed by signal 9"),
        ("139\n", "was killed by signal 11"),
        ("", "is gone; its exit status was not recorded"),
    ],
)
def test_the_end_of_a_qemu_is_put_in_words(tmp_path: Path, status: str, words: str) -> None:
    (tmp_path / EXIT_STATUS).write_text(status)
    assert ending(tmp_path) == words


def test_what_a_process_has_started_goes_with_its_group() -> None:
    script = "sleep 600 & echo $!; wait"
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as shell:
        assert shell.stdout is not None
        child, leader = Process.of(int(shell.stdout.readline())), Process.of(shell.pid)
        assert child and leader
        leader.kill_group()
        until(lambda: not child.alive())


def test_a_process_of_the_same_group_goes_alone() -> None:
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        process = Process.of(sleeper.pid)
        assert process
        process.kill_group()
        assert sleeper.wait(60) == -signal.SIGKILL


def test_a_connection_that_broke_is_told_as_the_end_of_qemu_that_follows(tmp_path: Path) -> None:
    # The guest's reset breaks it, a moment before QEMU is gone.
    with idle() as qemu:
        (tmp_path / EXIT_STATUS).write_text("0\n")
        threading.Timer(0.3, lambda: os.kill(qemu.pid, signal.SIGKILL)).start()
        ended = pytest.raises(HostError, match="ended with exit status 0")
        with ended, Machine(tmp_path, qemu).talked_to():
            raise GuestGone("the guest went away")


@pytest.mark.parametrize("kind", [GuestError, GuestGone])
def test_what_a_guest_says_while_its_qemu_lives_on_is_told_as_it_is(
    tmp_path: Path, kind: type[GuestError]
) -> None:
    with (
        idle() as qemu,
        pytest.raises(kind, match="no such command"),
        Machine(tmp_path, qemu).talked_to(),
    ):
        raise kind("no such command")


def test_a_dead_qemu_is_reported_with_its_last_words_and_the_consoles(tmp_path: Path) -> None:
    (tmp_path / EXIT_STATUS).write_text("134\n")
    (tmp_path / STDERR).write_text("".join(f"line {number}\n" for number in range(9)))
    (tmp_path / CONSOLE_LOG).write_bytes(b"[ 1.0] booting \xff\n[ 2.0] Kernel panic\n")
    error = Machine(tmp_path, gone()).died()
    assert error.message == f"QEMU (pid {gone().pid}) was killed by signal 6"
    assert error.detail.splitlines() == [
        "stderr:", *(f"line {number}" for number in range(4, 9)),
        "console:", "[ 1.0] booting \N{REPLACEMENT CHARACTER}", "[ 2.0] Kernel panic",
    ]  # fmt: skip


def test_a_process_whose_name_is_cut_within_a_character_is_one_like_others() -> None:
    # PR_SET_NAME, which the kernel cuts after 15 bytes.
    named = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, 14 * b'x' + 'ü'.encode()); "
        "print(flush=True); sys.stdin.read()"
    )
    with python(named) as running:
        assert running.stdout
        running.stdout.readline()
        with pytest.raises(UnicodeDecodeError):
            Path(f"/proc/{running.pid}/stat").read_text(encoding="utf-8")
        found = Process.of(running.pid)
        assert found and found.alive()
        assert Brood(os.getsid(0)).kept_waiting() >= 0
