# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the command line begins: `lab`, and `python -m lab` for a lab that starts another."""

import signal


def main() -> None:
    """Run a command; see lab/cli."""
    # Until the commands are imported there is nothing to clean up: a Ctrl-C ends the process as it
    # ends others, and not with Python's traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from lab.cli import main as command

    command()


if __name__ == "__main__":
    main()
