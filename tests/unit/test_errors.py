# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person meets at the command line: help without waiting, errors in a line, exit status."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.cli import _unforeseen, main
from lab.cli.terminal import print_error
from lab.copy.plant import KINDS
from lab.errors import GuestError, HostError, LabError, ProfileError, UsageError
from tests.unit.builders import python, until

LAB = "from lab.cli import main; main()"


@pytest.mark.parametrize(
    ("error", "status"), [(UsageError, 2), (ProfileError, 2), (HostError, 3), (GuestError, 3)]
)
def test_an_error_of_the_lab_is_never_taken_for_a_test_result(
    error: type[LabError], status: int
) -> None:
    assert error("what").exit_status == status


def test_an_error_is_a_line_with_cause_and_cure_then_what_the_system_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_error(HostError("it broke", detail="first\nsecond\n", hint="mend it"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "lab: it broke — mend it\n  | first\n  | second\n"


def test_an_error_in_a_log_has_cause_cure_and_detail_too() -> None:
    assert str(HostError("it broke", detail="why\n", hint="mend it")) == "it broke (mend it)\nwhy"
    assert str(HostError("it broke")) == "it broke"


Lab = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Lab]:
    """Run the lab, as a user who has nothing: exit status, stdout and stderr."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # Whatever is wrong with the lab, a unit test boots no guest.
    monkeypatch.setenv("LAB_QEMU", "no-qemu-here")

    def run(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lab", *argv])
        with pytest.raises(SystemExit) as caught:
            main()
        status = caught.value.code
        assert isinstance(status, int)
        return status, *capfd.readouterr()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("profile show nothing", "no profile 'nothing'; expected one of: "),
        ("up nothing", "no profile 'nothing'"),
        ("run nothing copy-faults", "no profile 'nothing'"),
        ("run nvme-copy nothing", "no suite nothing — there are: copy-faults"),
        ("run nvme-copy copy-faults -- --ranges 0", "must be positive"),
        ("run nvme-copy copy-faults --on nobody", "no guest nobody — guests: none;"),
        ("run nvme-copy copy-faults -- --blocks 1000000", "LABNVME0:1 has 262144"),
        ("run nvme-copy copy-faults -- --blocks 300", "300 blocks in a range: the profile's"),
        ("up nvme-copy --name a/b", "guest name 'a/b': not a name"),
        ("ssh nobody", "no guest nobody"),
        ("console nobody", "no guest nobody"),
        ("ssh-config nobody", "no guest nobody"),
        ("down nobody", "no guest nobody"),
        ("down", "name one guest, or say --all"),
        ("image rm", "give either a name or --all"),
        ("image rm trixie", "nothing is built of trixie"),
    ],
)
def test_what_does_not_exist_is_told_in_one_line_with_exit_status_2(
    lab: Lab, argv: str, words: str
) -> None:
    status, out, err = lab(*argv.split())
    assert (status, out) == (2, "")
    assert words in err
    assert err.startswith("lab: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", ["--nope", "nope", "run nvme-copy", "ls extra", "down --al"])
def test_a_command_line_that_cannot_be_read_has_exit_status_2(lab: Lab, argv: str) -> None:
    status, out, err = lab(*argv.split())
    assert (status, out) == (2, "")
    assert "Usage: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("argv", ["ls", "down --all", "ls --json", "up nvme-copy"])
def test_a_host_that_cannot_hold_the_state_has_exit_status_3(
    lab: Lab, home: Path, argv: str
) -> None:
    (home / ".local").write_text("a file where a directory should be")
    status, out, err = lab(*argv.split())
    assert (status, out) == (3, "")
    assert err.startswith(f"lab: cannot write {home}/.local/state/lab/guests: ")
    assert err.count("\n") == 1


def test_without_guests_there_is_nothing_to_list_and_nothing_to_take_down(lab: Lab) -> None:
    assert lab("ls") == (0, "no guests; start one with: lab up nvme-copy\n", "")
    assert lab("ls", "--json") == (0, "[]\n", "")
    assert lab("ssh-config") == (0, "", "")
    assert lab("down", "--all") == (0, "", "")


def test_what_the_sweep_removes_is_told(lab: Lab, home: Path) -> None:
    (home / ".local/state/lab/guests/half-started").mkdir(parents=True)
    status, out, err = lab("ls", "--json")
    assert (status, json.loads(out)) == (0, [])
    assert err == "lab: warning: half-started: left behind by a lab that was killed; removed\n"


def test_the_kinds_of_defects_to_plant_are_listed(lab: Lab) -> None:
    status, out, _ = lab("run", "nvme-copy", "copy-faults", "--", "--plant", "help")
    assert status == 0
    # What does not fit a line goes on below, behind blanks.
    kinds = [line.split()[0] for line in out.splitlines() if not line.startswith(" ")]
    assert kinds == list(KINDS)
    assert all(len(line) <= 80 for line in out.splitlines())


HEAVY = {"paramiko", "qemu.qmp", "asyncio", "yaml", "lab.profile.models"}


@pytest.mark.parametrize(
    ("argv", "heavy"),
    [
        (["--help"], HEAVY | {"pydantic", "rich"}),
        # Typer itself loads pydantic to describe options.
        (["run", "--help"], HEAVY),
        (["up", "-h"], HEAVY),
    ],
)
def test_help_waits_for_nothing_heavy(argv: list[str], heavy: set[str]) -> None:
    code = f"""
        import sys
        sys.argv = ["lab", *{argv}]
        try:
            {LAB}
        finally:
            print("loaded:", *({heavy} & set(sys.modules)), file=sys.stderr)
    """
    with python(code) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "loaded:\n")
    assert "Usage: " in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_the_status_that_shells_use(
    tmp_path: Path, number: signal.Signals
) -> None:
    # The lab blocks while it reads a profile that nobody writes.
    fifo = tmp_path / "slow.yaml"
    os.mkfifo(fifo)
    with python(LAB, "profile", "show", fifo) as process:
        writer = opened_by_reader(fifo)
        while process.poll() is None:
            # Python may miss a signal that comes just before it blocks.
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        out, err = process.communicate()
        os.close(writer)
    assert (process.returncode, out, err) == (128 + number, "", "lab: interrupted\n")


INTERRUPTED = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "lab.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from {} import {} as main
main()
"""


def test_an_interrupt_while_the_commands_are_imported_has_no_traceback() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    words = [sys.executable, "-c", INTERRUPTED.format(*project["scripts"]["lab"].split(":"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def opened_by_reader(fifo: Path) -> int:
    """The writing end of a FIFO, as soon as somebody reads it."""
    found: list[int] = []

    def opened() -> bool:
        with suppress(OSError):
            found.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(found)

    until(opened)
    return found[0]


@pytest.mark.parametrize("argv", ["profile schema", "ls --json", "--help"])
def test_a_reader_that_goes_away_is_no_test_result(
    argv: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-c", LAB, *argv.split()]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_pipe_to_somebody_else_that_breaks_is_told() -> None:
    breaks = "from lab.host import scratch; scratch.sweep = lambda: os.write(pipe, b'x')"
    opens = "import os, signal; reads, pipe = os.pipe(); os.close(reads)"
    program = f"{opens}\n{breaks}\n{LAB}"
    done = subprocess.run(
        [sys.executable, "-c", program, "ls"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "Broken pipe" in done.stderr
    assert "has gone" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_no_test_result(
    unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    words = [sys.executable, "-c", LAB, "ls"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == HostError.exit_status
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("closed", "argv", "status"),
    [(">&-", "ls", 0), (">&-", "up nothing", 2), ("<&- >&- 2>&-", "ls", 0), ("2>&-", "ls", 0)],
)
def test_a_stream_that_is_closed_changes_no_status(closed: str, argv: str, status: int) -> None:
    words = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", LAB, *argv.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_locale_without_arrows_fails_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    say = "from lab.cli import terminal; terminal.print_table(['→'], [['—']])"
    words = [sys.executable, "-c", f"import lab.cli as c; c._provide_streams(); {say}"]
    assert subprocess.run(words, capture_output=True, check=True).stdout.split() == [
        b"\\u2192",
        b"\\u2014",
    ]


def test_a_command_ends_with_the_status_that_it_gives_itself(lab: Lab) -> None:
    status, out, err = lab("profile", "check", "nvme-copy", "nothing")
    assert (status, out.split()[:2]) == (2, ["ok", "nvme-copy"])
    assert err.startswith("nothing: no profile")


@pytest.mark.parametrize("argv", [[], ["profile"], ["image"]], ids=" ".join)
def test_a_command_line_without_a_command_is_answered_with_help(lab: Lab, argv: list[str]) -> None:
    status, out, err = lab(*argv)
    assert status == 2
    assert "Commands" in out + err


def test_the_shell_completes_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"_LAB_COMPLETE": "complete_bash", "COMP_WORDS": "lab prof", "COMP_CWORD": "1"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    with python(LAB) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "profile\n", "")


def test_a_library_that_cannot_be_opened_is_no_bug_of_the_lab() -> None:
    opened = ImportError(
        "/usr/lib/_agg.so: cannot open shared object file: No space left on device"
    )
    said = _unforeseen(opened)
    assert said.message.endswith("No space left on device")
    assert "bug" not in said.hint
    assert "bug of the lab" in _unforeseen(ImportError("cannot import name 'gone'")).hint


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), MemoryError()], ids=["threads", "memory"]
)
def test_what_the_host_has_no_more_of_is_no_bug(error: Exception) -> None:
    said = _unforeseen(error)
    assert "bug" not in said.hint and "no more" in said.message
    assert "ulimit" in said.hint
