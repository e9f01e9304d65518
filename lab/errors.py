# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors a user sees.

Each says what failed and on what (`message`), what the system answered (`detail`: stderr,
console lines, kernel messages) and what to do about it (`hint`).  A lab error is never a test
result: the command line maps it to exit status 2 or 3, while 1 is kept for violated rules.
"""

from lab.foreign import harmless


class LabError(Exception):
    """Base of everything the lab reports without a traceback.

    Whatever it quotes, of a guest, a program or a file, can be shown to a terminal.
    """

    exit_status = 3

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        self.message = harmless(message)
        self.detail = harmless(detail.rstrip().replace("\r\n", "\n"))
        self.hint = harmless(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        text = self.message
        if self.hint:
            text += f" ({self.hint})"
        if self.detail:
            text += "\n" + self.detail
        return text


class UsageError(LabError):
    """The command line names something that does not exist or cannot be combined."""

    exit_status = 2


class ProfileError(LabError):
    """A profile, image or kernel definition says something impossible."""

    exit_status = 2


class HostError(LabError):
    """The host or the lab itself cannot do what was asked: QEMU, disk, network, build."""


class TooSlow(LabError):
    """Something did not come in time: on a host that is less busy it may."""


class LackError(HostError):
    """The host lacks something that can be had: a program, a permission, room.

    `cure` mends this one lack; the hint goes on to what tells of all of them.
    """

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        self.cure = hint
        pointer = "`lab doctor` tells of all that this host lacks"
        super().__init__(message, detail=detail, hint=f"{hint}; {pointer}" if hint else pointer)


class BuildError(HostError):
    """Sources of a kernel cannot be configured or compiled: theirs is the fault."""


class GuestError(LabError):
    """The guest died, hung, panicked or refused an operation the lab needs."""


class GuestSilence(GuestError):
    """A guest that should tell of something does not, and nobody says why."""


class KernelHang(GuestError):
    """A task in a guest's kernel waits for what does not come."""


class GuestGone(GuestError):
    """The connection to a guest broke, mostly a moment before its QEMU has ended."""
