# SPDX-License-Identifier: GPL-2.0-or-later
"""Making a checkpoint: a guest without storage is booted, and written down when its agent waits.

`python -m lab.guest.making` does it for a recipe on its stdin, in the background of the first boot
that could have used it.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

from lab.artifacts import cache
from lab.artifacts.cache import Artifact
from lab.artifacts.cmdline import KERNEL_ARGS
from lab.errors import LabError, TooSlow
from lab.guest import checkpoints, initrd, shelf
from lab.guest.boot import Progress, QemuDefect, await_line, empty_logs
from lab.guest.checkpoints import KIND, MEMORY, STATE, Recipe
from lab.host import qemu
from lab.host.command import uninterrupted
from lab.vm import checkpoint
from lab.vm.argv import INITRD, Memory, making
from lab.vm.machine import Machine
from lab.vm.walls import Reach

ANONYMOUS = "lab: checkpoint"
"""What the agent says on the console when it waits to be told who it is."""

AT_MOST = 12
"""Checkpoints that are kept, the last used ones."""
AT_MOST_BYTES = 4 << 30
"""What they may take on the disk, together."""

_SAVE_DEADLINE = 120.0
_ROOM = 64 << 20
"""Bytes beside those of the memory, of which a booted guest has touched about a seventh."""


def ensure(recipe: Recipe, progress: Progress) -> Artifact:
    """The checkpoint of a recipe, made if it is not there.  Raises HostError or GuestError, and
    remembers why, unless the host was only too slow: then the next guest has it tried again."""

    def build(directory: Path) -> dict[str, str]:
        progress(f"checkpoint {recipe.name}: boot")
        try:
            return _build(recipe, directory)
        except QemuDefect as defect:
            # As a guest is (begin()); else nobody would try it again for an hour.
            progress(f"checkpoint {recipe.name}: boot once more: {defect.message}")
            for file in directory.iterdir():
                file.unlink()
            return _build(recipe, directory)

    room = recipe.profile.machine.memory // 4 + _ROOM
    try:
        made = cache.ensure(KIND, recipe.name, recipe.inputs(), build, progress, room=room)
    except TooSlow:
        raise
    except LabError as error:
        with contextlib.suppress(OSError):
            shelf.failure_of(recipe.artifact).write_text(str(error))
        raise
    shelf.failure_of(recipe.artifact).unlink(missing_ok=True)
    prune()
    return made


def in_background(recipe: Recipe) -> None:
    """Have a process of its own make it; what becomes of that, `failed` tells."""
    # One that was told half of it would be of no use.
    with uninterrupted():
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.guest.making"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(pickle.dumps(recipe))


def failed(recipe: Recipe) -> str:
    """Why it could not be made of late; '' if it was not tried, or that is long ago."""
    path = shelf.failure_of(recipe.artifact)
    with contextlib.suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime < shelf.PAUSE:
            return path.read_text() or "it could not be made"
    return ""


def prune() -> None:
    """Remove the checkpoints that were not used for longest, where there are too many; those in use
    stay.  Failures that no longer count are forgotten."""
    shelf.forget_old_failures()
    made = sorted(cache.manifests(KIND), key=lambda one: -one[0].path.stat().st_mtime)
    total = 0
    for number, (artifact, manifest) in enumerate(made):
        total += manifest.size
        if number >= AT_MOST or total > AT_MOST_BYTES:
            cache.remove_unused(artifact)


def _build(recipe: Recipe, directory: Path) -> dict[str, str]:
    """Make one in an empty directory, in which the guest works that is booted for it."""
    platform, memory = recipe.platform, recipe.profile.machine.memory
    (directory / INITRD).write_bytes(initrd.initrd(platform.kernel, recipe.files()))
    empty_logs(directory)
    backend = Memory(directory / MEMORY, shared=True)
    boot = recipe.boot("checkpoint")
    argv = making(recipe.profile, boot, recipe.ports, backend)
    machine = Machine.launch(directory, argv, Reach.of(recipe.profile, boot, backend))
    try:
        await_line(machine, ANONYMOUS, recipe.profile.guest.boot_deadline)
        mapped = checkpoint.can_map(machine)
        state = directory / STATE
        way = checkpoint.save(machine, state, mapped=mapped, deadline=_SAVE_DEADLINE)
    finally:
        machine.kill()
    wanted = {STATE, MEMORY} if mapped else {STATE}
    for file in directory.iterdir():
        if file.name not in wanted:
            file.unlink()
        else:
            file.chmod(0o600)
    checkpoints.describe(directory, memory, way, mapped=mapped)
    return {
        "kernel": platform.kernel.release,
        "image": platform.image.name,
        "qemu": qemu.version(platform.qemu),
        "accelerator": platform.accelerator.name,
        "cpus": str(recipe.profile.machine.cpus),
        "memory": str(memory),
        "ports": str(recipe.ports),
        "arguments": " ".join([*KERNEL_ARGS, *recipe.profile.guest.kernel_args]),
        "mapped": "yes" if mapped else "no",
        **shelf.origins(recipe),
    }


def main() -> None:
    """Make the checkpoint of the recipe on stdin."""
    recipe = pickle.load(sys.stdin.buffer)
    # Whoever waits for their guest comes first.
    os.nice(5)
    with contextlib.suppress(LabError):
        ensure(recipe, lambda _: None)


if __name__ == "__main__":
    main()
