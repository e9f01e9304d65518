"""The configuration of a kernel that the lab builds: fragments, one after the other.

They answer `make allnoconfig` (KCONFIG_ALLCONFIG, Documentation/kbuild/kconfig.rst): what no
fragment names is off, and the last one that names an option wins.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from lab import ROOT
from lab.errors import UsageError

ALWAYS = ("machine", "storage", "faults")
"""Fragments of every kernel that the lab builds."""

_SHIPPED = ROOT / "images/kernel"
_SET = re.compile(r"(CONFIG_\w+)=(.*)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def variants() -> list[str]:
    """The fragments that ship and can be added by name."""
    return sorted(path.stem for path in _SHIPPED.glob("*.config") if path.stem not in ALWAYS)


def fragment(name: str) -> Path:
    """The file of a fragment, by the name of one that ships or by path.  Raises UsageError."""
    shipped = _SHIPPED / f"{name}.config"
    if name in (*ALWAYS, *variants()):
        return shipped
    path = Path(name).absolute()
    if not path.is_file():
        raise UsageError(
            f"no kernel configuration {name}",
            hint=f"a file, or one of: {', '.join(variants())}",
        )
    return path


def text(names: Sequence[str]) -> str:
    """The fragments of every kernel and those of `names`, joined."""
    try:
        return "\n".join(fragment(name).read_text() for name in (*ALWAYS, *names))
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error


def options(config: str) -> dict[str, str]:
    """Options with their values in a configuration; one that is not set is `n`."""
    found = {}
    for line in config.splitlines():
        if match := _SET.fullmatch(line.strip()):
            found[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            found[match[1]] = "n"
    return found


def refused(asked: str, made: str) -> list[str]:
    """What `asked` wants and the finished configuration `made` has not, as `CONFIG_X=y`.

    Kernels differ: an option may be gone, new, or forbidden by another one.
    """
    has = options(made)
    return [
        f"{name}={value}" for name, value in options(asked).items() if has.get(name, "n") != value
    ]
