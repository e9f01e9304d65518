# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: parse, call, print.  No logic.

Everything heavy is imported inside the commands: `lab --help` must not wait for it.
"""

import io
import os
import select
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import Annotated, Any

import typer
from typer.main import get_command

from lab import __version__
from lab.cli import (
    bisect,
    checkpoint,
    compare,
    coverage,
    doctor,
    export,
    fault,
    guest,
    host,
    image,
    inside,
    kernel,
    nightly,
    profile,
    qemu,
    replay,
    results,
    run,
    shell,
    watch,
    worker,
)
from lab.cli.terminal import print_error
from lab.errors import LabError, UsageError
from lab.host import dirs, scratch

app = typer.Typer(
    rich_markup_mode=None,
    help="A QEMU test lab that shows what copy offload does when it fails half-way.",
    epilog="Exit status: 0 all well; 1 a test failed or a rule was violated; "
    "2 usage or profile error; 3 the lab or the host failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lab {__version__}")
        raise typer.Exit


@app.callback()
def _lab(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


app.add_typer(profile.app, name="profile")
app.add_typer(image.app, name="image")
app.add_typer(kernel.app, name="kernel")
app.add_typer(qemu.app, name="qemu")
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(host.app, name="host")
app.add_typer(fault.app, name="fault")
compare.register(results.app)
export.register(results.app)
coverage.register(results.app)
app.add_typer(results.app, name="results")
guest.register(app)
inside.register(app)
run.register(app)
replay.register(app)
nightly.register(app)
worker.register(app)
watch.register(app)
bisect.register(app)
shell.register(app)
doctor.register(app)


# typer carries its own click or uses the installed one; either way its usage errors descend
# from ClickException, two levels above the one that typer exports.
_ClickException: Any = typer.BadParameter.mro()[2]


class Interrupt(BaseException):
    """Ctrl-C or SIGTERM: everything on the way out cleans up after itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # The clean-up is bounded by deadlines; a second Ctrl-C must not cut it short.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupt(number)


def main() -> None:
    """Run a command; the exit status says whose fault it was: 0, 1, 2 or 3."""
    _provide_streams()
    warnings.formatwarning = lambda message, *_, **__: f"lab: warning: {message}\n"
    if "_LAB_COMPLETE" in os.environ:
        warnings.simplefilter("ignore")
        try:
            app(prog_name="lab")  # the shell asks for completions; does not return
        except LabError as error:
            sys.exit(error.exit_status)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _share_making()
        scratch.sweep()
        status = _invoke()
        sys.stdout.flush()
    except LabError as error:
        print_error(error)
        status = error.exit_status
    except _ClickException as error:
        error.show()
        status = UsageError.exit_status
    except Interrupt as stop:
        print("lab: interrupted", file=sys.stderr)
        status = 128 + stop.number
    except SystemExit:
        # rich's word for a reader of our output that has gone; the lab's commands end by
        # typer.Exit.
        status = _end_unread()
    except BrokenPipeError as error:
        status = _end_unread() if _is_unread() else _end_unforeseen(error)
    except Exception as error:
        status = _end_unforeseen(error)
    sys.exit(status)


def _end_unforeseen(error: Exception) -> int:
    """What nobody foresaw is the lab's failure, never a test's; a traceback is for a file."""
    _silence_stdout()
    print_error(_unforeseen(error))
    return LabError.exit_status


def _end_unread() -> int:
    """The reader of our output has gone (`lab … | head`): nothing is left to say to it."""
    _silence_stdout()
    return 128 + signal.SIGPIPE


def _is_unread() -> bool:
    """Whether that is so; a guest or another process that has gone breaks its pipes too."""
    outputs = select.poll()
    for stream in (sys.stdout, sys.stderr):
        outputs.register(stream, 0)
    return bool(outputs.poll(0))


def _share_making() -> None:
    """Where hosts share a depot and a store, have them agree on who makes what."""
    if os.environ.get("LAB_ARTIFACTS"):
        from lab.artifacts.depot import lease_with
        from lab.results.store.database import shared

        if shared():
            from lab.farm.hosts.lease import lease

            lease_with(lease)


def _provide_streams() -> None:
    """Have stdin, stdout and stderr, and let stdout take every character.

    Python has None for one that was closed (`lab ls >&-`), whose number the next file to be
    opened would get; a locale without UTF-8 lacks the arrows and dashes of tables.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does it by itself


def _silence_stdout() -> None:
    """Whatever stdout still holds goes nowhere: its end must not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unforeseen(error: Exception) -> LabError:
    from lab import plugins

    words = str(error) or type(error).__name__
    whose = plugins.culprit(error) or "the lab"
    # A library that the system cannot open is told by ld.so in words, and has no errno.
    if isinstance(error, ConnectionError):
        return LabError(words, hint="what lab talked to has gone: a guest, QEMU, another process?")
    unopened = isinstance(error, ImportError) and "cannot open shared object file" in words
    if unopened or isinstance(error, OSError):
        return LabError(words, hint="check that file system, or what lab reads or writes there")
    # clone(2) has failed, of which CPython's threads tell no errno.
    if isinstance(error, RuntimeError) and words == "can't start new thread":
        return LabError(
            "the system lets lab start no more threads",
            hint="see `ulimit -u`, and pids.max and memory.max of its cgroup",
        )
    if isinstance(error, MemoryError):
        return LabError("lab has no more memory", hint="see `ulimit -v`, or free some")
    try:
        report = dirs.state() / "unforeseen.txt"
        report.write_text("".join(traceback.format_exception(error)))
    except (OSError, LabError):
        return LabError(f"{type(error).__name__}: {words}", hint=f"this is a bug of {whose}")
    return LabError(
        f"{type(error).__name__}: {words}", hint=f"this is a bug of {whose}: report {report}"
    )


def _invoke() -> int:
    """Run the command that the command line names; its exit status.

    Not by calling `app`: that would end a broken pipe with 1, which means a violated rule.
    """
    command = get_command(app)
    try:
        with command.make_context("lab", sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0
