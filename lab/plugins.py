# SPDX-License-Identifier: GPL-2.0-or-later
"""What installed packages add to the lab: suites, paths, layers and actions, as entry points.

Nothing is looked for before somebody asks for a group, and a package that brings nothing to that
is not imported.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TypeVar

from lab.errors import HostError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

_T = TypeVar("_T")

SUITES, PATHS, LAYERS, ACTIONS = "lab.suites", "lab.paths", "lab.layers", "lab.actions"

_ONE = {SUITES: "a suite", PATHS: "a path", LAYERS: "a layer", ACTIONS: "an action"}
"""What one of each group is called."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class PluginWarning(UserWarning):
    """A plugin is broken and was left out."""


@cache
def found(group: str) -> Mapping[str, object]:
    """What packages bring in a group, by name.

    What cannot be imported is named in a PluginWarning and left out.  Raises HostError if two of
    them have the same name.
    """
    by_name: dict[str, EntryPoint] = {}
    for entry in _entries(group):
        if first := by_name.get(entry.name):
            raise HostError(
                f"{_package(first)} and {_package(entry)} both bring {_ONE[group]} {entry.name}",
                hint="uninstall one of them",
            )
        by_name[entry.name] = entry
    return dict(_loaded(group, by_name))


def together(group: str, own: Mapping[str, _T], kind: type[_T]) -> dict[str, _T]:
    """The lab's own of a group, and what packages add to it, by name.

    What is no `kind`, or has a `name` other than that of its entry point, is named in a
    PluginWarning and left out.  Raises HostError if a package brings one that there is.
    """

    def misfit(name: str, each: object) -> str:
        if not isinstance(each, kind):
            return f"it is a {type(each).__name__}, and no {kind.__name__}"
        return _misnamed(name, getattr(each, "name", name))

    return _together(group, own, misfit)


def classes(
    group: str,
    own: Mapping[str, type[_T]],
    base: type[Any],
    name_of: Callable[[type[_T]], str],
    needed: Sequence[str] = (),
) -> dict[str, type[_T]]:
    """The lab's own classes of a group, and those that packages add to it, by name.

    As together(); what packages bring are subclasses of `base` with the attributes `needed`, and
    `name_of` tells what one calls itself.
    """

    def misfit(name: str, each: object) -> str:
        if not (isinstance(each, type) and issubclass(each, base)):
            return f"it is no {base.__name__}"
        abstract: Iterable[str] = getattr(each, "__abstractmethods__", ())
        lacking = sorted({*abstract, *(one for one in needed if not hasattr(each, one))})
        if lacking:
            return f"{each.__name__} has no {', '.join(lacking)}"
        try:
            return _misnamed(name, name_of(each))
        except Exception as error:  # as it was made by a stranger
            return f"{each.__name__} has no name: {type(error).__name__}: {error}"

    return _together(group, own, misfit)


def guest_scripts(group: str) -> Iterator["Path"]:
    """The files for guests that packages bring with what they bring in a group, as its
    `guest_scripts` says."""
    for each in found(group).values():
        yield from getattr(each, "guest_scripts", ())


def _together(
    group: str, own: Mapping[str, _T], misfit: Callable[[str, object], str]
) -> dict[str, _T]:
    made: dict[str, Any] = dict(own)
    for name, each in found(group).items():
        if name in own:
            (entry,) = (entry for entry in _entries(group) if entry.name == name)
            raise HostError(
                f"{_package(entry)} brings {_ONE[group]} {name}, but the lab has one of that name",
                hint="uninstall it, or give that another name",
            )
        if why := misfit(name, each):
            _leave_out(group, name, why)
        else:
            made[name] = each
    return made


def _misnamed(name: str, own_name: str) -> str:
    return "" if own_name == name else f"it calls itself {own_name}"


def culprit(error: BaseException) -> str:
    """The package, if one that brings something, through whose code an error came; '' if none."""
    packages = {
        entry.value.partition(":")[0].partition(".")[0]: _package(entry)
        for group in _ONE
        for entry in _entries(group)
    }
    modules = [
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in walk_tb(error.__traceback__)
    ]
    return next((packages[name] for name in reversed(modules) if name in packages), "")


def _entries(group: str) -> list["EntryPoint"]:
    return sorted(installed().select(group=group), key=lambda one: (one.name, _package(one)))


@cache
def installed() -> Any:
    """The entry points of all packages, from which `select` picks (importlib.metadata; Python 3.11
    has them in a form of its own): every package is looked at for them, once."""
    # Imported late: `lab --help` must not wait for it.
    from importlib.metadata import entry_points

    return entry_points()


def _loaded(group: str, entries: Mapping[str, "EntryPoint"]) -> Iterator[tuple[str, object]]:
    for name, entry in entries.items():
        if not _NAME.fullmatch(name):
            _leave_out(group, name, "a name has lower-case letters, digits and dashes")
            continue
        try:
            yield name, entry.load()
        except (Exception, SystemExit) as error:
            # Whatever a stranger's module fails with.
            _leave_out(group, name, f"{entry.value}: {type(error).__name__}: {error}".rstrip(": "))


def _leave_out(group: str, name: str, why: str) -> None:
    packages = {_package(entry) for entry in _entries(group) if entry.name == name}
    words = " ".join(why.split())
    text = f"{_ONE[group].split()[-1]} {name} of {', '.join(sorted(packages))} is left out: {words}"
    warnings.warn(text, PluginWarning, stacklevel=3)


def _package(entry: "EntryPoint") -> str:
    """The package that has an entry point, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
