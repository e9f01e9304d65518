# SPDX-License-Identifier: GPL-2.0-or-later
"""The one gateway to other programs on the host: argv lists, deadlines, errors that speak."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from lab.errors import HostError, LackError
from lab.host import cures

DETAIL_LINES = 15


def tail(text: str, lines: int = DETAIL_LINES) -> str:
    """The last `lines` lines of what a program said."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    deadline: float,
    cwd: Path | None = None,
    hint: str = "",
    text: str = "",
    env: Mapping[str, str] | None = None,
    lines: int = DETAIL_LINES,
) -> str:
    """Run `argv` to its end, with `text` as its stdin, and return its stdout.

    `deadline` is in seconds; `env` is the whole environment where it is not this process's.  Raises
    HostError with the command, its exit status and the last `lines` of its stderr when the program
    is missing, fails, or overruns the deadline (it is killed then, with its children).
    """
    words = [str(word) for word in argv]
    process = None
    try:
        with uninterrupted():
            process = _started(words, fed=bool(text), cwd=cwd, env=env)
        out, said = process.communicate(text or None, timeout=deadline)
    except subprocess.TimeoutExpired as error:
        assert process is not None
        end_group(process)
        out = said = ""
        # A daemon that left the group may keep the pipes open for as long as it likes.
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, said = process.communicate(timeout=0.2)
        raise HostError(
            f"no end after {deadline:.0f} s: {shlex.join(words)}",
            detail=tail(said or out),
            hint=hint,
        ) from error
    finally:
        if process:
            end_group(process)
    if process.returncode != 0:
        raise HostError(
            f"exit status {process.returncode}: {shlex.join(words)}",
            detail=tail(said or out, lines),
            hint=hint,
        )
    return out


def _started(
    words: Sequence[str], *, fed: bool, cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    """A program in a process group of its own, with pipes; `fed`: stdin is one too.  Raises
    HostError."""
    try:
        return subprocess.Popen(
            words,
            executable=found(words[0]) or words[0],
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=cwd,
            env=env,
            process_group=0,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise HostError(f"{cwd}: no such directory") from error
        raise missing(words[0]) from error
    except OSError as error:
        raise HostError(f"{words[0]}: {error.strerror}", hint="check that file") from error


def stream(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    deadline: float,
    env: Mapping[str, str],
) -> int:
    """Run `argv` to its end, with nothing but `env` as its environment, and hand each line that it
    prints, to stdout or stderr, to `on_line`.

    Returns its exit status.  Raises HostError when the program is missing or overruns the
    deadline, in seconds; however this ends, even by a SIGKILL, its children end with it.
    """
    words = [str(word) for word in argv]
    late = threading.Event()
    with owned(lambda: _printing(words, env)) as process, contextlib.ExitStack() as stack:

        def stop() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(deadline, stop)
        timer.daemon = True
        stack.callback(timer.cancel)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            on_line(line.rstrip("\n"))
        process.wait()
    if late.is_set():
        raise HostError(f"no end after {deadline:.0f} s: {shlex.join(words)}")
    return process.returncode


def _printing(words: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    """A program in a process group of its own, with one pipe for all that it prints.  Raises
    LackError."""
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            process_group=0,
        )
    except FileNotFoundError as error:
        raise missing(words[0]) from error


@contextlib.contextmanager
def owned(
    start: Callable[[], subprocess.Popen[str]], *, grace: float = 0.0
) -> Iterator[subprocess.Popen[str]]:
    """A process that `start` starts in a process group of its own.  However the body is left, even
    by a SIGKILL of this process, that group ends: by SIGTERM, and after `grace` seconds by SIGKILL;
    without any, by SIGKILL at once."""
    with contextlib.ExitStack() as stack:
        with uninterrupted():
            process = start()
            stack.callback(_end_gently, process, grace)
        with _ends_with_us(process.pid, grace):
            try:
                yield process
            finally:
                # While there is somebody who sees to it if this process is killed.
                _end_gently(process, grace)


def _end_gently(process: subprocess.Popen[str], grace: float) -> None:
    """SIGTERM to the group of one that still runs, which may then take so many seconds; SIGKILL to
    what is left of it."""
    try:
        if grace and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            # What it still has to say must not keep it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=grace)
    finally:
        end_group(process)


@contextlib.contextmanager
def _ends_with_us(group: int, grace: float) -> Iterator[None]:
    """End a process group if this process is killed, even with SIGKILL.

    A shell waits for the end of a pipe that only this process holds open.  A parent-death signal
    would reach the group's first process alone, whose children would go on.  `grace`: seconds
    between SIGTERM and SIGKILL.
    """
    script = (
        f"read -r _; kill -TERM -{group}; left={grace:.0f};"
        f" while [ $left -gt 0 ] && kill -0 -{group}; do sleep 1; left=$((left - 1)); done;"
        f" kill -KILL -{group}"
    )
    with contextlib.ExitStack() as stack:
        with uninterrupted():
            watcher = subprocess.Popen(
                ["sh", "-c", script],
                stdin=subprocess.PIPE,
                # Whoever reads what this process printed must not wait for the watcher.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.enter_context(watcher)
            stack.callback(watcher.kill)
        yield


_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
"""What ends a command with its clean-up: Ctrl-C, and what a night, a worker or systemd sends."""


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end of the body: a program that is started in it has
    an owner before anybody can be interrupted.  Only the main thread ever is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in _INTERRUPTS}
    # None: of a handler that is not Python's, which could not be put back.
    before = {number: handler for number, handler in found.items() if handler is not None}
    came: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    try:
        # What is executed meanwhile is born with the default (execve(2)).
        for number in before:
            signal.signal(number, hold)
        yield
    finally:
        # SIGTERM first: one that comes between the two ends the process all the same.
        for number, handler in reversed(before.items()):
            # Unless what came just now has had it ignored.
            if signal.getsignal(number) is hold:
                signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def end_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """SIGKILL what is left of a process started with a group of its own, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def found(program: str) -> str | None:
    """The path of a program.  An ordinary user's PATH lacks the directories that hold depmod and
    its like."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def missing(program: str) -> LackError:
    """The error for a program that is not installed, with the command that installs it."""
    cure = cures.install(program).here() if program in cures.PACKAGES else ""
    return LackError(f"{program}: not found", hint=cure)
