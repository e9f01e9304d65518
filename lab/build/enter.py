"""A shell in an image on the host: to build something against a guest's libraries.

The image is unpacked into a tmpfs that lives in a mount namespace, so that everything about it is
gone with the last process in it.  An ordinary user is root in a user namespace; what is written to
a directory that was bound belongs to that user.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.build.image import Image
from lab.errors import HostError, UsageError
from lab.host import dirs
from lab.host.command import missing, run

SCRIPT = Path(__file__).with_name("enter.sh")


def argv(image: Image, binds: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The command line that runs a command in an image, with the directories bound under their own
    names.  Raises UsageError for a directory that is none, HostError when this host forbids it."""
    for program in ("unshare", "fsck.erofs"):
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        if shutil.which(program, path=path) is None:
            raise missing(program)
    for directory in binds:
        if not directory.is_dir():
            raise UsageError(f"{directory}: no such directory")
    prefix = _namespaces()
    try:
        run([*prefix, "true"], deadline=20)
    except HostError as error:
        raise HostError(
            "this host lets nobody unpack and enter an image: " + error.message,
            detail=error.detail,
            hint="sub-ids (/etc/subuid, /etc/subgid), newuidmap and user namespaces are needed, "
            "as for building an image; or do it as root",
        ) from error
    place = dirs.cache("enter")
    return [*prefix, str(SCRIPT), str(image.root), str(place), *map(str, binds), "--", *command]


def _namespaces() -> list[str]:
    """unshare with the namespaces that are needed."""
    own = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
    if os.getuid() == 0:
        return [*own, "--"]
    return [*own, "--user", "--map-root-user", "--map-auto", "--"]
