# SPDX-License-Identifier: GPL-2.0-or-later
"""A shell in an image on the host: to build something against a guest's libraries.

The image is unpacked into a tmpfs that lives in a mount namespace, so that everything about it is
gone with the last process in it.  An ordinary user is root in a user namespace; what is written to
a directory that was bound belongs to that user.
"""

import errno
import os
import pwd
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.artifacts import debian
from lab.artifacts.image import Image
from lab.errors import HostError, LackError, UsageError
from lab.host import cures, dirs
from lab.host.command import found, missing, run

SCRIPT = Path(__file__).with_name("enter.sh")


def argv(image: Image, binds: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The command line that runs a command in an image, with the directories bound under their own
    names.  Raises UsageError for a directory that is none, HostError when this host forbids it."""
    for program in ("unshare", "fsck.erofs"):
        if found(program) is None:
            raise missing(program)
    for directory in binds:
        _check_directory(directory)
    prefix = namespaces()
    place = dirs.cache("enter")
    return [*prefix, str(SCRIPT), str(image.root), str(place), *map(str, binds), "--", *command]


def unwritable(directory: Path) -> str:
    """Why nothing can be written in a directory, and what to do; '' where it can.

    By trying: of a file system of another host's, nothing else tells.
    """
    try:
        with tempfile.TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        status = directory.stat()
        owner = _name(status.st_uid)
        cure = "what is built there has no place: copy it to where you can write, and bind that"
        if error.errno in (errno.EACCES, errno.EPERM) and os.getuid() != status.st_uid:
            # Of NFS, root is nobody unless the server says otherwise (root_squash, exports(5)).
            cure = f"it belongs to {owner}: be that user (sudo -u {owner} lab …), or copy it"
        return f"{directory} cannot be written: {error.strerror}; {cure}"


def _check_directory(directory: Path) -> None:
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise UsageError(f"{directory}: no directory")
        os.scandir(directory).close()
    except FileNotFoundError as error:
        raise UsageError(f"{directory}: no such directory") from error
    except OSError as error:
        hint = ""
        if error.errno in (errno.EACCES, errno.EPERM) and os.getuid() == 0:
            hint = "a server that takes root for nobody: be its owner, sudo -u NAME lab …"
        raise UsageError(f"{directory}: {error.strerror}", hint=hint) from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def namespaces() -> list[str]:
    """unshare with the namespaces that are needed, as a prefix of a command.

    Raises LackError when this host forbids them: sub-ids, newuidmap and user namespaces are needed,
    as for building an image.
    """
    prefix = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
    cure = "give this container CAP_SYS_ADMIN"
    if os.getuid() != 0:
        debian.check_sub_ids()
        prefix += ["--user", "--map-root-user", "--map-auto"]
        cure = f"{cures.USER_NAMESPACES.here()}, or do it as root"
    try:
        run([*prefix, "--", "true"], deadline=20)
    except HostError as error:
        raise LackError(
            f"this host lets nobody unpack and enter an image: {error.message}",
            detail=error.detail,
            hint=cure,
        ) from error
    return [*prefix, "--"]
