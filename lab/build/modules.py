"""A kernel's module tree: unpacked, indexed, and the part of it that a boot needs first.

Modules are stored uncompressed: under emulation the guest's kernel spends tens of milliseconds
on unpacking each .ko.xz, the host does it once.
"""

import gzip
import lzma
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.errors import HostError
from lab.host.command import run

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


def unpack(tree: Path) -> None:
    """Replace every compressed module below `tree` by its content (.ko.xz, .ko.gz, .ko.zst)."""
    packed = [path for path in tree.rglob("*.ko.*") if path.is_file()]
    zstd = [path for path in packed if path.suffix == ".zst"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The libraries release the interpreter lock while they work.
        list(pool.map(_unpack, (path for path in packed if path.suffix != ".zst")))
    for start in range(0, len(zstd), 500):
        run(["zstd", "-dq", "--rm", *zstd[start : start + 500]], deadline=120)


def _unpack(path: Path) -> None:
    packed = path.read_bytes()
    if path.suffix == ".xz":
        module = lzma.decompress(packed)
    elif path.suffix == ".gz":
        module = gzip.decompress(packed)
    else:
        raise HostError(f"{path.name}: unknown module compression")
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
