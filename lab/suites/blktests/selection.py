# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests of a tree are meant: check has groups and exclusions, but cannot list what it would
run."""

import re
from collections.abc import Iterator
from pathlib import Path

from lab.errors import UsageError
from lab.suites.blktests.options import BlktestsOptions

_TEST = "[0-9][0-9][0-9]"
"""What check takes for a test in the directory of a group (its _found_group)."""
_QUICK = re.compile(r"^(QUICK|TIMED)=1\b", re.MULTILINE)
_META = "meta"
"""Tests of check itself, which fail on purpose: in no selection that does not name them."""


def select(tree: Path, options: BlktestsOptions) -> list[str]:
    """The tests that the options mean, in check's order.

    As with check, tests that are named run whatever else is said; exclusions, and -q, are for
    those that come with a group.  Raises UsageError for what the tree does not have, and when
    nothing is left.
    """
    known = {path.parent.name: path.parent for path in (tree / "tests").glob("*/rc")}
    for name in options.excluded:
        if name not in known and not _named(tree, name):
            raise _unknown(tree, name)
    named = {test for name in options.names if name not in known for test in _of(tree, name)}
    groups = [*options.groups, *(name for name in options.names if name in known)]
    if not options.names and not options.groups:
        groups = [name for name in known if name != _META]
    grouped = set()
    for group in groups:
        if group not in known:
            raise _unknown(tree, group)
        grouped |= set(_of_group(known[group], options))
    if not named | grouped:
        raise UsageError("blktests: nothing is selected", hint="see the arguments after --")
    return sorted(named | grouped)


def _of_group(group: Path, options: BlktestsOptions) -> Iterator[str]:
    if group.name in options.excluded:
        return
    for path in group.glob(_TEST):
        name = f"{group.name}/{path.name}"
        quick = not options.quick or _QUICK.search(path.read_text(errors="replace"))
        if quick and name not in options.excluded:
            yield name


def _of(tree: Path, pattern: str) -> list[str]:
    found = _named(tree, pattern)
    if not found:
        raise _unknown(tree, pattern)
    return found


def _named(tree: Path, pattern: str) -> list[str]:
    """The tests of that name, or pattern of names."""
    group, slash, test = pattern.partition("/")
    if not slash or not group or not test or ".." in pattern:
        return []
    found = (tree / "tests").glob(f"{group}/{test}")
    return [f"{p.parent.name}/{p.name}" for p in found if re.fullmatch(r"\d{3}", p.name)]


def _unknown(tree: Path, name: str) -> UsageError:
    return UsageError(f"blktests: the tree has no test or group {name}", hint=f"see {tree}/tests")
