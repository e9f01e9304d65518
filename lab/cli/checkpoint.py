# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab checkpoint`: list and remove what guests begin from instead of booting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.image import All, Json
from lab.cli.terminal import print_json

if TYPE_CHECKING:
    from lab.guest.shelf import Failure, Shelved

app = typer.Typer(
    help="List and remove checkpoints, from which guests begin.", no_args_is_help=True
)


def complete_checkpoint(incomplete: str) -> list[str]:
    """Names and keys of checkpoints that start with `incomplete`, for the shell's completion."""
    from lab.guest.shelf import failures, listing

    found = {word for one in listing() for word in (one.artifact.name, one.artifact.key)}
    found |= {word for one in failures() for word in (one.name, one.key)}
    return sorted(word for word in found if word.startswith(incomplete))


MaybeName = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME|KEY]",
        help="A name is that of all of a kernel and an image.",
        autocompletion=complete_checkpoint,
    ),
]


@app.command("list")
def list_checkpoints(json: Json = False) -> None:
    """List the checkpoints, the last used first, and those that could not be made."""
    from lab.guest.shelf import failures, listing

    made, failed = listing(), failures()
    if json:
        print_json([*map(_document, made), *map(_failure, failed)])
        return
    for one in made:
        print(_lines(one))
    for failure in failed:
        when = f"{failure.at:%Y-%m-%d %H:%M} UTC"
        print(f"{failure.key}  {failure.name}: could not be made at {when}: {failure.why}")
    if not made and not failed:
        print("no checkpoints; the first guest of a kernel and an image makes one")


@app.command("rm")
def remove_checkpoints(name: MaybeName = None, everything: All = False) -> None:
    """Remove checkpoints, and forget that some could not be made.

    Guests that began from them are not disturbed; the next one of their kind boots.
    """
    from lab.errors import UsageError
    from lab.guest.shelf import remove

    if (name is None) != everything:
        raise UsageError("give either a name, a key or --all")
    removed, forgotten = remove(name)
    if name is not None and not removed and not forgotten:
        raise UsageError(f"no checkpoint {name}", hint="see `lab checkpoint list`")
    for artifact in removed:
        print(f"removed checkpoint {artifact.name} {artifact.key}")
    for failure in forgotten:
        print(f"forgot why {failure.name} {failure.key} could not be made")


def _lines(one: Shelved) -> str:
    """What people see of one, in 80 columns."""
    from datetime import UTC, datetime

    from lab.cli.guest import age
    from lab.profile.units import format_size

    said = one.manifest.versions
    machine = f"{said['cpus']} CPUs, {format_size(int(said['memory']))}, {said['ports']} ports"
    memory = "mapped" if one.mapped else "whole"
    used = age((datetime.now(UTC) - one.last_used).total_seconds())
    return (
        f"{one.artifact.key}  {one.artifact.name}: kernel {said['kernel']}, image {said['image']}\n"
        f"    QEMU {said['qemu'].partition(' ')[0]} {said['accelerator']}, {machine}; "
        f"{one.manifest.size / 1e6:.0f} MB, {memory}\n"
        f"    made {one.manifest.built.replace('T', ' ')[:16]} UTC, used {used} ago"
    )


def _document(one: Shelved) -> dict[str, Any]:
    said = one.manifest.versions
    return {
        "name": one.artifact.name,
        "key": one.artifact.key,
        "kernel": said["kernel"],
        "image": said["image"],
        "qemu": said["qemu"],
        "accelerator": said["accelerator"],
        "cpus": int(said["cpus"]),
        "memory": int(said["memory"]),
        "ports": int(said["ports"]),
        "arguments": said["arguments"].split(),
        "mapped": one.mapped,
        "size": one.manifest.size,
        "made": one.manifest.built,
        "used": one.last_used.isoformat(timespec="seconds"),
        "path": str(one.artifact.path),
        "failed": None,
    }


def _failure(one: Failure) -> dict[str, Any]:
    at = one.at.isoformat(timespec="seconds")
    return {"name": one.name, "key": one.key, "made": None, "tried": at, "failed": one.why}
