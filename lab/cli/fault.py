# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab fault NAME hold|status|step|inject|release`: a request of a running guest, held by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.guest import Json, Name
from lab.cli.terminal import print_json, warn

if TYPE_CHECKING:
    from lab.faults.byhand import Hand
    from lab.faults.status import FaultStatus
    from lab.guest.guest import Guest

app = typer.Typer(
    help="Hold a request of a running guest, fail it, let it go.",
    no_args_is_help=True,
    subcommand_metavar="hold|status|step|inject|release",
)

Deadline = Annotated[float, typer.Option("--deadline", help="Seconds to wait.", min=0.1)]


@app.callback()
def fault(context: typer.Context, name: Name) -> None:
    """Hold a request of a running guest, fail it, let it go."""
    context.obj = name


@app.command()
def hold(
    context: typer.Context,
    at: Annotated[str, typer.Option("--at", help="read:K, write:K or written:K.")],
    disk: Annotated[
        str | None, typer.Option("--disk", help="SERIAL or SERIAL:NSID; default: the first.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until something is held.")] = False,
    deadline: Deadline = 60.0,
    json: Json = False,
) -> None:
    """Hold the K-th read or write of a disk, counted from now."""
    from lab.faults.model import Point
    from lab.faults.status import find_drive

    guest, hand = _hand(context)
    hand.hold(find_drive(guest.record.profile, disk), Point.parse(at))
    if wait:
        _await(hand, deadline)
    _print(guest, hand.status(), json)


@app.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Show what is armed, and what is held."""
    guest, hand = _hand(context)
    _print(guest, hand.status(), json)


@app.command()
def step(context: typer.Context, deadline: Deadline = 5.0, json: Json = False) -> None:
    """Let go what is held, and hold the copy again at its next point."""
    guest, hand = _hand(context)
    hand.step()
    _await(hand, deadline)
    _print(guest, hand.status(), json)


@app.command()
def inject(
    context: typer.Context,
    error: Annotated[
        str, typer.Argument(metavar="ERROR", help="eio, enospc, …, the errno, or none.")
    ],
    json: Json = False,
) -> None:
    """Choose the error that the held request gets when it is let go."""
    from lab.faults.choice import parse

    guest, hand = _hand(context)
    _print(guest, hand.inject(parse(error)), json)


@app.command()
def release(context: typer.Context, json: Json = False) -> None:
    """Let go what is held, and leave the disk as it was."""
    _, hand = _hand(context)
    released = hand.release()
    if json:
        print_json({"released": released})
    elif released:
        print(f"released: {', '.join(released)}")
    else:
        print("no longer armed; nothing was held")


def _hand(context: typer.Context) -> tuple[Guest, Hand]:
    from lab.faults.byhand import Hand
    from lab.guest.guests import attach

    guest = attach(context.obj)
    return guest, Hand(guest)


def _await(hand: Hand, deadline: float) -> None:
    if not hand.await_held(deadline):
        warn(f"nothing came within {deadline:g} s")


def _print(guest: Guest, status: FaultStatus, json: bool) -> None:
    if json:
        print_json(status.document())
        return
    name = guest.record.name
    if status.state == "nothing":
        print(f"{name}: nothing is armed or held")
        return
    print(f"{name}: {status.point or 'a request, by a run that was killed,'} of {status.disk} is "
          f"{status.state} for {status.seconds:.0f} s")  # fmt: skip
    if status.passed:
        print(f"  {status.passed} before it came and went on")
    if status.error:
        print(f"  it will fail with {status.error}")
    if status.retried:
        print(f"  the guest's driver may try it again, and succeed: {status.retried}")
    if status.state == "armed":
        return
    print("  until it is released, stop, reset or quit would hang QEMU for good")
    if status.io_timeout:
        print(f"  the guest's driver gives up on it after {status.io_timeout:.0f} s")
    print(f"  lab fault {name} step, inject ERROR, release")
