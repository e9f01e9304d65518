# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration of a kernel that the lab builds: fragments, one after the other.

They answer `make allnoconfig` (KCONFIG_ALLCONFIG, Documentation/kbuild/kconfig.rst): what no
fragment names is off, and the last one that names an option wins.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import share
from lab.artifacts.kernels import gcov
from lab.artifacts.kernels.kconfig import Symbol, find
from lab.errors import UsageError

ALWAYS = ("machine", "storage", "faults")
"""Fragments of every kernel that the lab builds."""

_NOT_BY_NAME = (gcov.FRAGMENT,)
"""Fragments that ship and come with something else that is asked for."""

_SET = re.compile(r"(CONFIG_\w+)=(.*)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")


def variants() -> list[str]:
    """The fragments that ship and can be added by name."""
    shipped = share.directory("images/kernel").glob("*.config")
    return sorted(path.stem for path in shipped if path.stem not in (*ALWAYS, *_NOT_BY_NAME))


def fragment(name: str) -> Path:
    """The file of a fragment, by the name of one that ships or by path.  Raises UsageError."""
    if name in (*ALWAYS, *_NOT_BY_NAME, *variants()):
        return share.directory("images/kernel") / f"{name}.config"
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


@dataclass(frozen=True)
class UnmetOption:
    """What was asked for and the finished configuration has not."""

    refused: tuple[str, ...] = ()
    """`CONFIG_X=y: why`, of the options that the sources have, and of those that a user's own
    fragment names and they have not."""
    absent: tuple[str, ...] = ()
    """`CONFIG_X=y`, of the options that ship and that these sources have not."""


def unmet(tree: Path, names: Sequence[str], made: str) -> UnmetOption:
    """What the fragments `names` and those of every kernel ask for and `made`, the configuration
    that the sources in `tree` made of them, has not.

    What ships is for kernels of many versions: an option that came later or went earlier is no
    news.  One that the sources have and do not set is; so is one that a user's own fragment names
    and they do not have, which may be a misspelling.
    """
    asked, has = options(text(names)), options(made)
    missing = refused(asked, has)
    symbols = find(tree, map(_bare, asked)) if missing else {}
    # Of a choice one is enough: fragments name what kernels of one age have and those of another.
    taken = {one.choice for name in asked.keys() - missing for one in symbols.get(_bare(name), ())}
    own = {option for name in names if name not in variants() for option in _options_of(name)}
    told, absent = [], []
    for name, value in missing.items():
        definitions = symbols.get(_bare(name), [])
        if not definitions and name not in own:
            absent.append(f"{name}={value}")
        elif not any(one.choice and one.choice in taken for one in definitions):
            told.append(f"{name}={value}: {_why(has.get(name, 'n'), definitions)}")
    return UnmetOption(tuple(told), tuple(absent))


def refused(asked: Mapping[str, str], made: Mapping[str, str]) -> dict[str, str]:
    """The options of `asked` that came out otherwise in `made`, with what was asked for."""
    return {name: value for name, value in asked.items() if made.get(name, "n") != value}


def _options_of(name: str) -> dict[str, str]:
    return options(fragment(name).read_text())


def _bare(name: str) -> str:
    return name.removeprefix("CONFIG_")


def _why(value: str, definitions: Sequence[Symbol]) -> str:
    """Why an option has this value, in the words of its definitions."""
    if not definitions:
        return "these sources have no such option"
    words = [
        f"{one.where} depends on {' and '.join(one.depends)}" if one.depends else one.where
        for one in definitions
    ]
    return f"{value} in the end, see {'; '.join(words)}"
