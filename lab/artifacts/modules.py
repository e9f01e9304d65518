# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's module tree: unpacked, indexed, and the part of it that a boot needs first.

Modules are stored uncompressed: under emulation the guest's kernel spends tens of milliseconds
on unpacking each .ko.xz, the host does it once.
"""

import gzip
import lzma
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.errors import HostError
from lab.host.command import run
from lab.host.dirs import not_writable

UNUSED = (
    "kernel/drivers/bluetooth",
    "kernel/drivers/gpu",
    "kernel/drivers/iio",
    "kernel/drivers/infiniband/hw",
    "kernel/drivers/input",
    "kernel/drivers/media",
    "kernel/drivers/net/ethernet",
    "kernel/drivers/net/wireless",
    "kernel/drivers/staging",
    "kernel/drivers/usb",
    "kernel/net/bluetooth",
    "kernel/net/mac80211",
    "kernel/net/wireless",
    "kernel/sound",
)
"""Hardware that a guest of the lab never has: two thirds of a distribution's modules."""

_TO_SOURCES = ("build", "source")
"""Links that modules_install makes at the top, to what the kernel was built in and of."""


_MODULE = re.compile(r".+\.ko(\.(xz|gz|zst))?")
_LIST = re.compile(r"modules\.[a-z.]+")
"""modules.builtin, modules.order and their kin, at the top of a tree."""


def gather(source: Path, target: Path) -> list[str]:
    """Copy the modules below `source`, and the lists at its top, to the new directory `target`.

    Links are followed; those that lead nowhere, or round in a circle, are left out and returned.
    Everything else stays behind: debugging information, signatures, the kernel beside its modules.
    What is made can be written and removed, however read-only the source is.  Raises HostError.
    """
    lost: list[Path] = []
    target.mkdir(parents=True)
    try:
        _gather(source, target, (os.path.realpath(source),), lost)
        for file in source.iterdir():
            if _LIST.fullmatch(file.name) and file.is_file():
                shutil.copyfile(file, target / file.name)
    except PermissionError as error:
        raise HostError(f"{error.filename}: {error.strerror}", hint="make it readable") from error
    except OSError as error:
        raise not_writable(target, error) from error
    return [str(path.relative_to(source)) for path in lost]


def _gather(source: Path, target: Path, above: tuple[str, ...], lost: list[Path]) -> None:
    """The modules of one directory and those below it; `above` are the real paths of itself and
    the directories that led here."""
    for path in sorted(source.iterdir()):
        if path.name in _TO_SOURCES and len(above) == 1:
            continue
        module = _MODULE.fullmatch(path.name) is not None
        if path.is_dir():
            real = os.path.realpath(path)
            if real in above:
                lost.append(path)
            else:
                _gather(path, target / path.name, (*above, real), lost)
        elif module and path.is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.name)
        elif module:
            lost.append(path)


def unpack(tree: Path) -> None:
    """Replace every compressed module below `tree` by its content (.ko.xz, .ko.gz, .ko.zst).

    Raises HostError, naming it, for one that is damaged.
    """
    modules = [path for path in tree.rglob("*.ko.*") if _MODULE.fullmatch(path.name)]
    packed = [path for path in modules if path.is_file()]
    zstd = [path for path in packed if path.suffix == ".zst"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The libraries release the interpreter lock while they work.
        list(pool.map(_unpack, (path for path in packed if path.suffix != ".zst")))
    for start in range(0, len(zstd), 500):
        run(["zstd", "-dq", "--rm", *zstd[start : start + 500]], deadline=120)


def _unpack(path: Path) -> None:
    packed = path.read_bytes()
    try:
        module = lzma.decompress(packed) if path.suffix == ".xz" else gzip.decompress(packed)
    except (lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise HostError(f"{path.name}: a damaged module: {error}") from error
    path.with_suffix("").write_bytes(module)
    path.unlink()


def index(base: Path, release: str) -> None:
    """Write modules.dep and its kin for base/lib/modules/RELEASE.

    depmod complains about a kernel without symbols to compare with; that is no failure.
    """
    run(["depmod", "-b", base, release], deadline=120)


def load_order(tree: Path, needed: Iterable[str], optional: Iterable[str] = ()) -> list[Path]:
    """Files below `tree` (lib/modules/RELEASE, indexed) to load for `needed`, dependencies first.

    Names that are built into the kernel need no file.  Raises HostError for a needed name that
    the kernel does not have; an optional one is left out then.
    """
    depends = dict(_dependencies(tree))
    paths = {_name(path): path for path in depends}
    builtin = {_name(line) for line in (tree / "modules.builtin").read_text().splitlines()}
    order: dict[str, None] = {}
    wanted = [(name, False) for name in optional] + [(name, True) for name in needed]
    for name, required in wanted:
        if name in paths:
            # modules.dep lists the dependencies of dependencies too, the deepest last.
            order.update(dict.fromkeys(reversed(depends[paths[name]])))
            order[paths[name]] = None
        elif required and name not in builtin:
            raise HostError(
                f"this kernel has no {name}, which the guest needs to reach its root",
                hint="build it in or as a module",
            )
    return [tree / path for path in order]


def _dependencies(tree: Path) -> Iterator[tuple[str, list[str]]]:
    for line in (tree / "modules.dep").read_text().splitlines():
        path, _, depends = line.partition(":")
        yield path, depends.split()


def _name(path: str) -> str:
    """The module in a file name; - and _ are the same to the kernel."""
    return Path(path).name.partition(".ko")[0].replace("-", "_")
