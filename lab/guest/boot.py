# SPDX-License-Identifier: GPL-2.0-or-later
"""From a profile to a guest that answers: media, initrd, QEMU, and the wait for `lab: ready`."""

import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts.cmdline import KERNEL_ARGS
from lab.artifacts.image import Image, ensure_image
from lab.artifacts.kernel import Kernel, ensure_kernel
from lab.artifacts.module import ensure_module
from lab.artifacts.qemu import ensure_qemu
from lab.errors import GuestError, HostError, TooSlow
from lab.foreign import end_of
from lab.guest.initrd import everyones, initrd, own
from lab.guest.lastwords import PANIC
from lab.host import qemu, tsc
from lab.host.command import tail
from lab.host.dirs import not_writable
from lab.host.patience import Patience
from lab.host.qemu import Accelerator
from lab.profile.models import Profile
from lab.vm.argv import CONSOLE_LOG, INITRD, LAYERS_LOG, Boot, argv
from lab.vm.ending import exit_status
from lab.vm.given.handover import check_host_devices
from lab.vm.graph import drives
from lab.vm.link import Link
from lab.vm.machine import Machine
from lab.vm.qmp import EventSink
from lab.vm.walls import Reach

Progress = Callable[[str], None]

LISTENS = "lab: the agent listens"
"""The agent answers on its port."""
SILENT = "lab: the agent has no port"
"""The kernel has no virtio console: SSH must do."""
READY = "lab: ready"
"""Every device is there, with its links."""
_REFUSED = "lab: error: "
_INT3 = "Oops: int3"
_SEGFAULT = 128 + signal.SIGSEGV


@dataclass(frozen=True)
class Platform:
    """What the host gives every guest of a profile: artifacts, QEMU and accelerator."""

    image: Image
    kernel: Kernel
    qemu: str
    accelerator: Accelerator
    trees: tuple[tuple[str, Path], ...] = ()
    """Read-only disks for a suite, by serial."""
    modules: tuple[Path, ...] = ()
    """Modules of the lab's own that layers need, compiled for this kernel."""

    @classmethod
    def find(cls, profile: Profile, progress: Progress) -> "Platform":
        """Find QEMU, build what is not built yet, and decide between KVM and TCG.

        Raises HostError and ProfileError before anything is started.
        """
        binary = str(ensure_qemu(profile.machine.qemu, progress))
        kernel = ensure_kernel(profile.kernel, progress)
        image = ensure_image(profile.image, progress)
        needed = dict.fromkeys(name for layer in profile.layers for name in layer.kernel_modules)
        modules = tuple(ensure_module(name, kernel, progress) for name in needed)
        progress("choose the accelerator")
        accelerator = qemu.accelerator(binary, kernel.vmlinux)
        return cls(image, kernel, binary, accelerator, modules=modules)

    def boot(self, name: str, link: Link | None) -> Boot:
        """The host's part in the machine of a guest."""
        return Boot(
            name=name,
            qemu=self.qemu,
            accelerator=self.accelerator.name,
            kernel=self.kernel.vmlinux,
            kernel_args=(*KERNEL_ARGS, *tsc.arguments(self.accelerator.name)),
            root=self.image.root,
            modules=self.kernel.modules,
            link=link,
            trees=self.trees,
        )


def launch(
    directory: Path,
    name: str,
    profile: Profile,
    platform: Platform,
    on_event: EventSink | None = None,
    link: Link | None = None,
) -> Machine:
    """Start QEMU in the guest's directory, on the media that lie there, with empty write logs.

    Raises HostError when it does not start, or when a device of the host must not be given away,
    QemuDefect when it dies of a segmentation fault.
    """
    # Before every boot: what was free once may have been mounted since.
    check_host_devices(profile)
    empty_logs(directory)
    empty_write_logs(directory, profile)
    files = everyones(profile), own(name, profile, link, directory, platform.modules)
    try:
        (directory / INITRD).write_bytes(initrd(platform.kernel, *files))
    except OSError as error:
        raise not_writable(directory, error) from error
    try:
        boot = platform.boot(name, link)
        return Machine.launch(directory, argv(profile, boot), Reach.of(profile, boot), on_event)
    except HostError as error:
        if exit_status(directory) == _SEGFAULT:
            raise QemuDefect(error.message, detail=error.detail) from error
        raise


def empty_logs(directory: Path) -> None:
    """Empty what the boot before has said.  Raises HostError."""
    _empty(directory, (CONSOLE_LOG, LAYERS_LOG))


def empty_write_logs(directory: Path, profile: Profile) -> None:
    """Empty the write logs of the profile's disks.  Raises HostError."""
    _empty(directory, [drive.write_log for drive in drives(profile)])


def _empty(directory: Path, logs: Iterable[str]) -> None:
    try:
        for log in logs:
            (directory / log).write_bytes(b"")
    except OSError as error:
        raise not_writable(directory, error) from error


class QemuDefect(GuestError):
    """A boot that a defect of QEMU broke; each strikes one in some hundreds, or less.

    The kernel patches its code under the feet of another CPU by way of int3; multi-threaded TCG
    (seen with 7.2) sometimes executes that int3 after the kernel has stopped expecting it.  And it
    dies of SIGSEGV in memory_region_dispatch_write, without a region: until 8.2 a CPU can see the
    new map of memory before its TLB is flushed (softmmu/physmem.c, tcg_commit).
    """


class NotReady(GuestError, TooSlow):
    """A guest that did not say in time what was waited for."""


def await_line(machine: Machine, line: str, deadline: float, *others: str) -> str:
    """Wait until the guest says LISTENS or READY on its console, or one of the `others`; which.

    Raises GuestError, quoting the console, when it panics, reports an error or ends, and NotReady
    when it says nothing of the kind within `deadline` seconds, of which those do not count in which
    its QEMU had no processor.
    """
    console = machine.directory / CONSOLE_LOG
    patience = Patience(machine.process, deadline)
    while True:
        alive = machine.alive()
        text = end_of(console, 8 << 20)
        for wanted in (line, *others):
            if wanted in text:
                return wanted
        for said in text.splitlines():
            if _REFUSED in said or (PANIC in said and not alive):
                kind = QemuDefect if _INT3 in text else GuestError
                raise kind(f"the guest did not boot: {said.strip()}", detail=tail(text, 20))
        if not alive:
            died = machine.died()
            if exit_status(machine.directory) == _SEGFAULT:
                raise QemuDefect(died.message, detail=died.detail)
            raise died
        if patience.over():
            raise NotReady(
                f"the guest was not ready within {patience}",
                detail=machine.said(),
                hint="if the host is only slow, raise guest.boot_deadline in the profile",
            )
        time.sleep(0.01)
