# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults at the system calls of a lab, made from outside of it: strace(1) attaches to a process
that is about to run a command, and kills it before its k-th step, or makes that fail.

The code under test knows nothing of it.  A command is run in a process that is forked with all
modules loaded, so that thousands of faults do not cost thousands of starts of Python.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,write,pwrite64,rename,unlink,unlinkat,mkdir,rmdir,fsync,fdatasync,flock,ftruncate,"
    "fcntl,socket,connect,sendto,sendmsg,recvfrom,recvmsg,vfork,clone,clone3,execve,kill"
)
"""The steps that touch the world: files, their contents and locks, sockets and processes."""

ERRORS = ("ENOSPC", "EIO", "EMFILE", "EINTR", "ECONNRESET")

_PR_SET_PTRACER = 0x59616D61
_ANY = -1
_DEADLINE = 120.0
"""Seconds for one command on a busy host."""

PART = int(os.environ.get("LAB_KILLS_PART", "0"))
"""Which faults are drawn: each part has others, so that many can be made piece by piece."""

STOPPED = 35.0
"""Seconds that a process stands still which is stopped: longer than QMP's deadline, QEMU's for its
start, and that for which others wait for the store."""


@dataclass(frozen=True)
class Ending:
    """How a command ended: its status, as a shell counts, and what it said."""

    status: int
    out: str
    err: str


def why_not() -> str:
    """Why no fault can be made here; '' where they can."""
    if shutil.which("strace") is None:
        return "strace: not found"
    done = subprocess.run(
        ["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else f"strace: {done.stderr.strip()}"


def command(
    argv: Sequence[str],
    home: Path,
    inject: str = "",
    log: Path | None = None,
    deadline: float = _DEADLINE,
    meanwhile: Callable[[], object] = lambda: None,
) -> Ending:
    """Run a command of the lab with a home directory of its own, in a process of its own.

    `inject` is what strace takes for --inject; with `log` it writes each call of CALLS there,
    behind the number of the thread.  Threads and children are followed, until these run another
    program.  What a signal stops goes on after STOPPED seconds; `meanwhile` is called before.
    """
    said = tempfile.mkdtemp(prefix="said-", dir=home.parent)
    out, err = Path(said, "out"), Path(said, "err")
    pid = os.fork()
    if pid == 0:
        _become(argv, home, out, err, stop=bool(inject or log))
    if not (inject or log):
        return _ended(pid, out, err, deadline)
    os.waitpid(pid, os.WUNTRACED)
    what = f"trace={CALLS}" if log else f"inject={inject}"
    words = ["strace", "-f", "-b", "execve", "-qq", "-o", str(log or os.devnull), "-e", what]
    words += ["-p", str(pid)]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        try:
            _await_tracer(pid, tracer)
            os.kill(pid, signal.SIGCONT)
            found = _ended(pid, out, err, deadline, meanwhile if "SIGSTOP" in inject else None)
        finally:
            tracer.terminate()
    return found


def counted(argv: Sequence[str], home: Path, deadline: float = _DEADLINE) -> list[str]:
    """The calls of CALLS that a command makes in its first thread, in order."""
    return next(iter(threads(argv, home, deadline).values()))


def threads(argv: Sequence[str], home: Path, deadline: float = _DEADLINE) -> dict[str, list[str]]:
    """The calls of CALLS that each thread of a command makes that has nothing in its way, in order;
    children, up to where they run another program, are threads as well."""
    log = home.parent / "calls"
    done = command(argv, home, log=log, deadline=deadline)
    assert done.status == 0, done
    found: dict[str, list[str]] = {}
    for thread, call in re.findall(
        r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE
    ):
        found.setdefault(thread, []).append(call)
    return found


def at(calls: Sequence[str], number: int) -> tuple[str, str]:
    """The name of the step of that number, from 1 on, and what strace takes for its place: it
    counts each kind of call by itself."""
    name = calls[number - 1]
    return name, f"when={calls[:number].count(name)}"


def _become(argv: Sequence[str], home: Path, out: Path, err: Path, *, stop: bool) -> None:
    """Run the command in this process, which ends with it."""
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)
        for number, path in ((1, out), (2, err)):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(fd, number)
            os.close(fd)
        _streams()
        for name in [name for name in os.environ if name.startswith(("XDG_", "LAB_"))]:
            del os.environ[name]
        os.environ["HOME"] = str(home)
        os.chdir(home)
        if stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        import sys

        sys.argv = ["lab", *argv]
        from lab.cli import main

        main()
    except SystemExit as end:
        _flush()
        os._exit(end.code if isinstance(end.code, int) else 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        _flush()
    os._exit(99)


def _streams() -> None:
    """Give the process streams of its own: those of pytest are files of its own."""
    import sys

    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)


def _flush() -> None:
    import sys

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _await_tracer(pid: int, tracer: "subprocess.Popen[bytes]") -> None:
    """Wait until strace has attached."""
    end = time.monotonic() + _DEADLINE
    status = Path(f"/proc/{pid}/status")
    while not re.search(r"^TracerPid:\t[1-9]", status.read_text(), re.MULTILINE):
        assert tracer.poll() is None, "strace cannot attach"
        assert time.monotonic() < end, "strace does not attach"
        time.sleep(0.005)


def _ended(
    pid: int,
    out: Path,
    err: Path,
    deadline: float,
    meanwhile: Callable[[], object] | None = None,
) -> Ending:
    end = time.monotonic() + deadline
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            break
        if meanwhile and (stopped := _stopped(pid)):
            began = time.monotonic()
            try:
                meanwhile()
                time.sleep(max(0.0, STOPPED - (time.monotonic() - began)))
            finally:
                for each in stopped:
                    os.kill(each, signal.SIGCONT)
            meanwhile = None
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"no end: {err.read_text()}")
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    try:
        return Ending(code if code >= 0 else 128 - code, out.read_text(), err.read_text())
    finally:
        shutil.rmtree(out.parent)


def _stopped(session: int) -> list[int]:
    """The processes of a session that stand still; each is in that state for a moment at every step
    that is looked at, so it is asked more than once."""
    found = _in_stop(session)
    for _ in range(5):
        if not found:
            return []
        time.sleep(0.02)
        found = [each for each in _in_stop(session) if each in found]
    return found


def _in_stop(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] in "Tt" and int(fields[3]) == session:
                    found.append(int(entry.name))
    return found


def files(home: Path) -> Mapping[str, bytes]:
    """All files below a directory, by their paths in it."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def processes_in(home: Path) -> list[str]:
    """Processes that work below a directory, but for zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(home):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
