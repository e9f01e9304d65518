# SPDX-License-Identifier: GPL-2.0-or-later
"""What mends a host: the command, by distribution.

The lab runs on more than these three; a host that says it is like one of them (os-release(5)) is
told what that one would be told, any other is told all.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Distribution(StrEnum):
    """The distributions whose commands are known."""

    DEBIAN = "debian"
    UBUNTU = "ubuntu"
    FEDORA = "fedora"


@dataclass(frozen=True)
class Cure:
    """The command that mends one thing, or what a person has to do where none can."""

    debian: str
    ubuntu: str
    fedora: str

    @classmethod
    def anywhere(cls, command: str) -> "Cure":
        """What is the same on every distribution."""
        return cls(command, command, command)

    def on(self, distribution: Distribution | None) -> str:
        """What fits a distribution; of an unknown one, what fits each."""
        if distribution:
            return str(getattr(self, distribution))
        if self == Cure.anywhere(self.debian):
            return self.debian
        return "; ".join(f"{one.title()}: {getattr(self, one)}" for one in Distribution)

    def here(self) -> str:
        """What fits this host."""
        return self.on(this())


def this() -> Distribution | None:
    """The distribution of this host; None for one that nothing is known of."""
    try:
        return of(platform.freedesktop_os_release())
    except OSError:
        return None


def of(release: Mapping[str, str]) -> Distribution | None:
    """The distribution that os-release tells of: itself, or the closest one that it is like."""
    for word in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if word in set(Distribution):
            return Distribution(word)
    return None


PACKAGES = {
    "apt-get": ("apt", "apt"),
    "bc": ("bc", "bc"),
    "bwrap": ("bubblewrap", "bubblewrap"),
    "bison": ("bison", "bison"),
    "debian-archive-keyring.gpg": ("debian-archive-keyring", "debian-keyring"),
    "depmod": ("kmod", "kmod"),
    "dpkg-deb": ("dpkg", "dpkg"),
    "dump.erofs": ("erofs-utils", "erofs-utils"),
    "flex": ("flex", "flex"),
    "fsck.erofs": ("erofs-utils", "erofs-utils"),
    "gcc": ("gcc", "gcc"),
    "gelf.h": ("libelf-dev", "elfutils-libelf-devel"),
    "gdb": ("gdb", "gdb"),
    "git": ("git", "git"),
    "ld": ("binutils", "binutils"),
    "lz4": ("lz4", "lz4"),
    "make": ("make", "make"),
    "mkfs.erofs": ("erofs-utils", "erofs-utils"),
    "mmdebstrap": ("mmdebstrap", "mmdebstrap"),
    "newuidmap": ("uidmap", "shadow-utils"),
    "perl": ("perl", "perl"),
    "qemu-img": ("qemu-utils", "qemu-img"),
    "qemu-system-x86_64": ("qemu-system-x86", "qemu-system-x86"),
    "rsync": ("rsync", "rsync"),
    "script": ("bsdutils", "util-linux-script"),
    "setpriv": ("util-linux", "util-linux"),
    "ssh": ("openssh-client", "openssh-clients"),
    "stdbuf": ("coreutils", "coreutils"),
    "strip": ("binutils", "binutils"),
    "tar": ("tar", "tar"),
    "unshare": ("util-linux", "util-linux"),
    "zstd": ("zstd", "zstd"),
}
"""Packages of each program (or file) that the lab calls: Debian's and Ubuntu's, and Fedora's."""


def packages(*programs: str) -> tuple[list[str], list[str]]:
    """The packages of programs, each once: Debian's and Ubuntu's, and Fedora's.  A program that is
    not known is taken for its own package."""
    pairs = [PACKAGES.get(program, (program, program)) for program in programs]
    return list(dict.fromkeys(deb for deb, _ in pairs)), list(
        dict.fromkeys(rpm for _, rpm in pairs)
    )


def install(*programs: str) -> Cure:
    """The command that installs programs."""
    debs, rpms = packages(*programs)
    apt = f"sudo apt-get install {' '.join(debs)}"
    return Cure(apt, apt, f"sudo dnf install {' '.join(rpms)}")


USER_NAMESPACES = Cure(
    "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    "sudo sysctl -w user.max_user_namespaces=15000",
)
"""What lets an ordinary user have user namespaces, where each distribution forbids them."""
