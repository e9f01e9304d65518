# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab up|down|ls|ssh|ssh-config|console`: guests and the way into them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.boot import Boot
from lab.cli.kernel import Kernel, kernel_named
from lab.cli.profile import Changes, complete_profile
from lab.cli.qemu import Qemu, qemu_named
from lab.cli.terminal import phases, print_json, print_table, warn
from lab.errors import UsageError

if TYPE_CHECKING:
    from lab.cli.stack import StackListing
    from lab.guest.registry import Record
    from lab.profile.models import Profile


def complete_guest(incomplete: str) -> list[str]:
    """The names of guests that start with `incomplete`, for the shell's completion."""
    from lab.host import dirs

    names = sorted(path.name for path in dirs.state("guests").iterdir())
    return [name for name in names if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_guest)]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", autocompletion=complete_guest)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(up)
    app.command()(down)
    app.command("ls")(list_guests)
    app.command()(ssh)
    app.command("ssh-config")(ssh_config)
    app.command()(console)


def up(
    profile: Annotated[str, typer.Argument(help="Name or path.", autocompletion=complete_profile)],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the guest; default: the profile's.")
    ] = None,
    kernel: Kernel = None,
    qemu: Qemu = None,
    boot: Boot = None,
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Start a guest of a profile; it stays until `lab down`."""
    from lab.profile.change import booting
    from lab.profile.load import load

    # A mistake in the profile is told before anything slow is even imported.
    named = kernel_named(kernel), qemu_named(qemu), boot or ""
    wanted = load(profile, booting(changes or [], *named))
    from lab.guest import guests, registry

    name = name or wanted.name
    registry.sweep()
    start = time.monotonic()
    try:
        with phases() as progress:
            guest = guests.up(name, wanted, progress)
    except guests.AlreadyUp as error:
        if error.name != name:
            raise
        _already_up(registry.find(name), wanted, json=json)
        return
    found, peer = _found(guest.record)
    _warn_of(guest.record, found, peer)
    if json:
        print_json(_document(guest.record))
        return
    from rich.console import Console

    from lab.cli.stack import tree
    from lab.guest.begin import lasting

    Console(highlight=False).print(tree(wanted, found, peer))
    if why := lasting(guest.record.cold):
        print(f"{name} was booted, and will be each time: {why}")
    print(
        f"{name} is up after {time.monotonic() - start:.1f} s, kernel {guest.record.kernel}: "
        f"lab ssh {name}"
    )


def _already_up(record: Record, wanted: Profile, *, json: bool) -> None:
    """Tell of a guest that is up already.  Raises UsageError when it is another one."""
    name = record.name
    hint = f"lab down {name} first, or give --name another one"
    if wanted.guest.boot == "cold" and record.cold is None:
        raise UsageError(f"guest {name} is up, and began from a checkpoint", hint=hint)
    if not record.is_of(wanted):
        raise UsageError(
            f"guest {name} is up, but of another profile than was asked for",
            hint=hint,
        )
    if json:
        print_json(_document(record))
    else:
        print(f"{name} is already up: lab ssh {name}")


def _warn_of(record: Record, found: StackListing, peer: StackListing) -> None:
    """Warn of what a guest that came up does not have, or not as it was asked for."""
    for lack in (*found.missing, *peer.missing):
        warn(f"not supported: {lack.feature} of device {lack.device}: {lack.said}")
    for setting in (*found.settings, *peer.settings):
        if setting.failed:
            warn(setting.why())
    if record.accelerator_note:
        warn(f"no KVM, slow TCG emulation instead: {record.accelerator_note}")


def down(
    name: OptionalName = None,
    all_guests: Annotated[bool, typer.Option("--all", help="All guests.")] = False,
) -> None:
    """Take a guest down.

    Its QEMU, its media and its directory are gone.
    """
    from lab.guest import guests, registry

    if (name is None) != all_guests:
        raise UsageError("lab down: name one guest, or say --all")
    swept = registry.sweep()
    if name in swept:
        print(f"{name} is down: a lab that was killed had left it")
        return
    ours = [record for record in registry.listing() if not record.foreign()]
    names = [name] if name else [record.name for record in ours]
    for each in names:
        # A peer is gone with the guest before it.
        if name or registry.directory(each).exists():
            guests.down(each)
            print(f"{each} is down")


def list_guests(json: Json = False) -> None:
    """List the guests: running, and died since their start."""
    from lab.guest import registry

    for swept in registry.sweep():
        warn(f"{swept}: left behind by a lab that was killed; removed")
    records = registry.listing()
    if json:
        print_json([_document(record) for record in records])
        return
    if not records:
        print("no guests; start one with: lab up nvme-copy")
        return
    rows = [
        (
            record.name,
            f"{_state(record)}: {record.host}" if record.foreign() else _state(record),
            record.profile.name,
            record.kernel,
            record.accelerator,
            str(record.port),
            age(time.time() - record.started) if record.alive() else "",
        )
        for record in records
    ]
    print_table(("name", "state", "profile", "kernel", "accel", "port", "up for"), rows)


def ssh(
    name: Name,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="A command and its arguments, after `--`; a single word is given to the "
            "guest's shell as it is."
        ),
    ] = None,
) -> None:
    """Open a shell in a guest, or run a command there."""
    import os
    import shlex

    from lab.guest import foreground, guests
    from lab.guest.openssh import options
    from lab.guest.port import PortBusy
    from lab.host.command import missing

    guest = guests.attach(name)
    argv = ["ssh", *options(guest.record), name]
    if command:
        argv.append(command[0] if len(command) == 1 else shlex.join(command))
    if command and guest.record.agent:
        # One that is talked to already lets others in by SSH.
        with suppress(PortBusy):
            raise typer.Exit(foreground.run(guest, argv[-1]))
    try:
        os.execvp(argv[0], argv)
    except FileNotFoundError:
        raise missing("ssh") from None


def ssh_config(name: OptionalName = None) -> None:
    """Print an OpenSSH configuration for guests, for one or for all.

    The lab keeps the same up to date in ssh/config in its state directory:
    ssh -F ~/.local/state/lab/ssh/config NAME.
    """
    from lab.guest import registry
    from lab.guest.openssh import stanza

    records = [registry.find(name)] if name else registry.listing()
    print("\n".join(stanza(record) for record in records), end="")


def console(name: Name) -> None:
    """Attach to a guest's serial console; Ctrl-] leaves it."""
    from lab.guest import guests
    from lab.guest.console import attach

    attach(guests.attach(name).directory)


def _state(record: Record) -> str:
    if record.foreign():
        return "elsewhere"
    if not record.alive():
        return "died"
    return "in a run" if record.owner else "up"


def _found(record: Record) -> tuple[StackListing, StackListing]:
    """What the guest, and its peer, have as they came up."""
    from lab.cli.stack import StackListing
    from lab.guest import readback, registry, stack

    def found(record: Record) -> StackListing:
        place = registry.directory(record.name)
        return StackListing(stack.found(place), record.missing, readback.found(place))

    other = registry.read(registry.directory(record.link.other)) if record.link else None
    return found(record), found(other) if other else StackListing()


def _document(record: Record) -> dict[str, object]:
    from lab.guest import registry

    found, peer = _found(record)
    return {
        "name": record.name,
        "state": _state(record),
        "profile": record.profile.name,
        "kernel": record.kernel,
        "accelerator": record.accelerator,
        "port": record.port,
        "pid": record.qemu.pid,
        "host": record.host or None,
        "started": record.started,
        "began": "boot" if record.cold is not None else "checkpoint",
        "cold": record.cold or None,
        "directory": str(registry.directory(record.name)),
        **_stacked(found),
        "peer": {"name": record.link.other, **_stacked(peer)} if record.link else None,
    }


def _stacked(found: StackListing) -> dict[str, object]:
    from lab.guest import stack

    return {
        "stack": [part.model_dump(mode="json", exclude={"capabilities"}) for part in found.parts],
        "capabilities": stack.table(found.parts, found.missing),
        "settings": [setting.model_dump(exclude={"event"}) for setting in found.settings],
    }


def age(seconds: float) -> str:
    """How long something has been there, as listings have it."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:.0f} h"
