# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make modules_install` does, from the built tree alone.

That goal reads the sources' Makefile, and those of a kernel built in a container are not here; it
also minds INSTALL_MOD_* and more of the environment.  scripts/Makefile.modinst is what it follows.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lab.errors import HostError
from lab.host.command import run

LISTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")

_AT_ONCE = 200
"""Modules in one command line."""


def modules(tree: Path, names: Sequence[str], target: Path, options: Mapping[str, str]) -> None:
    """Install the modules `names` of a built tree below the new directory `target`, without
    debugging information, which is most of a module, and signed as the configuration `options`
    wants it.  The index is made later.  Raises HostError.
    """
    target.mkdir(parents=True)
    for name in LISTS[1:]:
        if (tree / name).exists():
            shutil.copyfile(tree / name, target / name)
    (target / LISTS[0]).write_text("".join(f"kernel/{name}\n" for name in names))
    files = [target / "kernel" / name for name in names]
    for name, file in zip(names, files, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, file)
    for start in range(0, len(files), _AT_ONCE):
        run(["strip", "--strip-debug", *files[start : start + _AT_ONCE]], deadline=300)
    if options.get("CONFIG_MODULE_SIG_ALL") == "y":
        _sign(tree, files, options)


def _sign(tree: Path, files: Sequence[Path], options: Mapping[str, str]) -> None:
    """Sign with the tree's own program and key.

    Where that cannot be done the kernel takes unsigned ones and says so, unless it was configured
    to refuse them.
    """
    key = options.get("CONFIG_MODULE_SIG_KEY", "").strip('"')
    argv: list[str | Path] = [
        tree / "scripts/sign-file",
        options.get("CONFIG_MODULE_SIG_HASH", "").strip('"'),
        key if key.startswith("pkcs11:") else tree / key,
        tree / "certs/signing_key.x509",
    ]
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(partial(_sign_one, argv), files))
    except HostError as error:
        if options.get("CONFIG_MODULE_SIG_FORCE") == "y":
            raise HostError(
                f"{tree}: the kernel takes signed modules only, and they cannot be signed: "
                f"{error.message}",
                detail=error.detail,
                hint="build with CONFIG_MODULE_SIG_FORCE unset",
            ) from error


def _sign_one(argv: Sequence[str | Path], file: Path) -> None:
    run([*argv, file], deadline=60)
