# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab shell`: a shell in an image, on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.terminal import phases, warn


def complete_image(incomplete: str) -> list[str]:
    """The images that start with `incomplete`, for the shell's completion."""
    from lab.artifacts.image import definitions

    return [name for name in sorted(definitions()) if name.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(shell)


def shell(
    image: Annotated[str, typer.Argument(metavar="IMAGE", autocompletion=complete_image)],
    bind: Annotated[
        list[Path] | None,
        typer.Option("--bind", help="A directory to have there, under its own name."),
    ] = None,
    command: Annotated[
        list[str] | None, typer.Argument(help="A command and its arguments, after `--`.")
    ] = None,
) -> None:
    """Open a shell in an image, or run a command there.

    It runs on the host. What is changed in the image is gone afterwards, what is changed in a
    bound directory stays.
    """
    import os

    from lab.artifacts import enter
    from lab.artifacts.image import ensure_image

    with phases() as progress:
        built = ensure_image(image, progress)
        progress(f"unpack image {image}")
    directories = [path.resolve() for path in bind or []]
    argv = enter.argv(built, directories, command or ["bash", "-i"])
    for warning in filter(None, map(enter.unwritable, directories)):
        warn(warning)
    os.execvp(argv[0], argv)
