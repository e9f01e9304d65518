"""The command line: parse, call, print.  No logic.

Everything heavy is imported inside the commands: `lab --help` must not wait for it.
"""

import os
import signal
import sys
from types import FrameType

import typer

from lab.cli import guest, image, kernel, profile, run
from lab.cli.terminal import print_error
from lab.errors import LabError

app = typer.Typer(
    help="A QEMU test lab that shows what copy offload does when it fails half-way.",
    epilog="Exit status: 0 all well; 1 a test failed or a rule was violated; "
    "2 usage or profile error; 3 the lab or the host failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(profile.app, name="profile")
app.add_typer(image.app, name="image")
app.add_typer(kernel.app, name="kernel")
guest.register(app)
run.register(app)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: everything on the way out cleans up after itself."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # The clean-up is bounded by deadlines; a second Ctrl-C must not cut it short.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted(number)


def main() -> None:
    """Run a command; the exit status says whose fault it was (DESIGN: 0, 1, 2, 3)."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except LabError as error:
        print_error(error)
        sys.exit(error.exit_status)
    except Interrupted as stop:
        print("lab: interrupted", file=sys.stderr)
        sys.exit(128 + stop.number)
    except BrokenPipeError:
        # The reader of our output has gone (`lab … | head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
