# SPDX-License-Identifier: GPL-2.0-or-later
"""A setpriv(1) that can do what the host's may not: that of another suite of Debian's."""

import subprocess
from pathlib import Path

from lab.artifacts import debian

LOADER = "ld-linux-x86-64.so.2"


def unpacked(suite: str, place: Path) -> Path:
    """The directory, in `place`, of the program of that suite, for a PATH."""
    archive, root, programs = place / "util-linux.tar", place / "root", place / "programs"
    debian.extract(("util-linux",), suite, archive)
    root.mkdir()
    programs.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", root, "./usr"], check=True)
    (loader,) = (path for path in root.rglob(LOADER) if not path.is_symlink())
    launcher = programs / "setpriv"
    launcher.write_text(
        f'#!/bin/sh\nexec {loader} --library-path {loader.parent} {root}/usr/bin/setpriv "$@"\n'
    )
    launcher.chmod(0o755)
    return programs
