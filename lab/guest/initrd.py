# SPDX-License-Identifier: GPL-2.0-or-later
"""The initrd of a guest: the shared initramfs, followed by what all have, and what is its own.

One that is restored from a checkpoint is given its own files over its port.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lab import plugins, share
from lab.artifacts.cmdline import KERNEL_ARGS, parameters
from lab.artifacts.initramfs import ArchiveEntry, archive
from lab.artifacts.kernel import Kernel
from lab.errors import HostError
from lab.guest import identity, keys, stack
from lab.profile.disk import disks
from lab.profile.models import Profile
from lab.vm.argv import kernel_args
from lab.vm.link import Link

_PACKAGES = {plugins.LAYERS: "layers", plugins.PATHS: "copies", plugins.SUITES: "suites"}
"""The guest's package that modules belong to which something from outside brings."""


def initrd(kernel: Kernel, *files: Mapping[str, ArchiveEntry]) -> bytes:
    """The shared initramfs of a kernel, followed by an archive of these files."""
    return kernel.initramfs.read_bytes() + archive({key: one[key] for one in files for key in one})


def everyones(profile: Profile) -> dict[str, ArchiveEntry]:
    """The files that all guests with the profile's command line have: programs, and what the
    modules are given that the initramfs loads."""
    return {**_parameters((*KERNEL_ARGS, *kernel_args(profile))), **programs()}


def programs() -> dict[str, ArchiveEntry]:
    """The lab's programs for guests, and those of packages.  Raises HostError."""
    files: dict[str, ArchiveEntry] = {}
    scripts = share.directory("guest-scripts")
    # The boot scripts, beside these directories, are part of the shared initramfs.
    for package in sorted(path for path in scripts.iterdir() if path.is_dir()):
        for script in sorted(path for path in package.iterdir() if path.is_file()):
            _add(files, package.name, script)
    for group, name in _PACKAGES.items():
        for script in plugins.guest_scripts(group):
            _add(files, name, script)
    return files


def own(
    name: str, profile: Profile, link: Link | None, directory: Path, modules: Sequence[Path] = ()
) -> dict[str, ArchiveEntry]:
    """The files that make the guest `name` of it, whose directory tells what layers must remember:
    guest-scripts/agent/adoption.py reads them.  `modules` are those of the lab's own that layers
    load."""
    found = keys.ensure(directory)
    # What was tried once need not be tried again after a reboot.
    probe = not stack.found(directory)
    files = {
        "lab/hostname": f"{name}\n",
        "lab/disks": _disk_list(profile),
        "lab/identity": identity.ensure(directory).text(),
        "lab/stack.json": stack.description(profile, link, probe=probe).decode(),
        "lab/kept.json": stack.kept(directory).decode(),
    }
    if probe or profile.layers:
        files["lab/layers-up"] = ""
    if link:
        files["lab/link"] = f"{link.address} {link.peer}\n"
    return {
        **{path: ArchiveEntry.file(text.encode()) for path, text in files.items()},
        **{f"lab/modules/{file.name}": ArchiveEntry.file(file.read_bytes()) for file in modules},
        "lab/authorized_keys": ArchiveEntry.file(found.client.with_suffix(".pub").read_bytes()),
        "lab/ssh_host_ed25519_key": ArchiveEntry.file(found.host.read_bytes(), 0o600),
    }


def _add(files: dict[str, ArchiveEntry], package: str, script: Path) -> None:
    """Add a script: a module of a package of the guest's, or a program, which has no suffix.

    Raises HostError if it cannot be read, or another one of that name is there.
    """
    where, permissions = (package, 0o644) if script.suffix else ("bin", 0o755)
    try:
        entry = ArchiveEntry.file(script.read_bytes(), permissions)
    except OSError as error:
        raise HostError(
            f"{script}: {error.strerror}", hint="what brings it is installed incompletely"
        ) from error
    if files.setdefault(f"lab/{where}/{script.name}", entry) != entry:
        raise HostError(
            f"{script}: guests have another {where}/{script.name}",
            hint="uninstall its package, or give the file another name",
        )


def _parameters(arguments: Iterable[str]) -> dict[str, ArchiveEntry]:
    """What the initramfs gives to the modules that it loads: a file for each module."""
    by_module: dict[str, list[str]] = {}
    for parameter in parameters(arguments):
        by_module.setdefault(parameter.module, []).append(parameter.argument)
    return {
        f"lab/parameters/{module}": ArchiveEntry.file(f"{' '.join(given)}\n".encode())
        for module, given in by_module.items()
    }


def _disk_list(profile: Profile) -> str:
    """The disks that the guest waits for: a line with the name, the number of controllers and the
    other name."""
    lines = (f"{disk.ref} {disk.controllers} {disk.alias}\n" for disk in disks(profile))
    return "".join(lines)
