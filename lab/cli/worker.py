# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab worker`: carry out the runs of nights that are left to workers."""

from __future__ import annotations

import re
import socket
from typing import Annotated

import typer

from lab.cli.terminal import phases, timed_lines, warn

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(worker)


def worker(
    guests: Annotated[int, typer.Option("--guests", min=1, max=256, help="Runs at a time.")] = 1,
    labels: Annotated[
        str, typer.Option("--labels", help="What plans may ask of this host, such as bigmem,nvme.")
    ] = "",
    name: Annotated[
        str | None, typer.Option("--name", help="What it is called; by default as the host is.")
    ] = None,
    drain: Annotated[
        bool, typer.Option("--drain", help="End when nothing waits that this host can carry out.")
    ] = False,
    install: Annotated[
        bool,
        typer.Option("--install", help="Have systemd run it, with these options and LAB_STORE."),
    ] = False,
    uninstall: Annotated[
        bool, typer.Option("--uninstall", help="End that, and remove it.")
    ] = False,
) -> None:
    """Carry out runs of nights that are left to workers, from the store that LAB_STORE names.

    Until Ctrl-C or SIGTERM; what runs then is given back, and begun again elsewhere.
    """
    from lab.errors import UsageError
    from lab.farm.hosts import queue, unit
    from lab.farm.hosts.offer import offer
    from lab.farm.hosts.roster import Presence
    from lab.farm.hosts.worker import Worker
    from lab.host import settings

    if uninstall:
        unit.remove(print)
        return
    called = socket.gethostname() if name is None else name
    if not _NAME.fullmatch(called):
        raise UsageError(
            f"no name for a worker: {called}", hint="up to 64 letters, digits, '.', '_' and '-'"
        )
    queue.require()
    if install:
        words = [
            "--name",
            called,
            "--guests",
            str(guests),
            *(["--labels", labels] if labels else []),
        ]
        unit.install(words, print)
        return
    limits = settings.load().worker
    who = Presence(called, guests, limits.lease, offer(_split(labels), kvm=_looked_over()))
    Worker(who, limits, timed_lines(), drain=drain).work()


def _split(labels: str) -> list[str]:
    return [label.strip() for label in labels.split(",") if label.strip()]


def _looked_over() -> bool:
    """What `lab doctor` finds of this host: whether KVM runs a kernel.

    Raises HostError where something is missing: every run would end with that.
    """
    from lab.doctor.examine import CHECKS, KVM, LEFT, examine
    from lab.doctor.finding import State
    from lab.errors import HostError

    needed = [check for check in CHECKS if check.name not in LEFT]
    with phases() as progress:
        lines = list(examine(progress, needed))
    if missing := [line for line in lines if line.finding.state is State.MISSING]:
        raise HostError(
            "this host can carry no run out: " + "; ".join(
                f"{line.name}: {line.finding.said}" for line in missing
            ),
            hint="`lab doctor` says what mends it",
        )  # fmt: skip
    if unsure := [one for one in lines if one.name == KVM and one.finding.state is not State.OK]:
        warn(f"no KVM: {unsure[0].finding.said}")
    return not unsure
