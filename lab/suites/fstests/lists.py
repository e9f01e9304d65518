# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of fstests that are to be left out: those in lists of the person's own, and in lists that
stand in the tree."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lab.errors import UsageError
from lab.guest.session import Session
from lab.suites.fstests.options import NUMBER, FstestsOptions
from lab.suites.fstests.sections import Section
from lab.suites.upstream.exclusions import Exclusion, Lists, kernel_release, left_out

_GROUPS = "group.list"
"""In each directory of tests: a test's number and its groups, line by line (tools/mkgroupfile)."""


def check(options: FstestsOptions, tree: Path, made: Mapping[str, Section]) -> None:
    """Raise UsageError for what of the lists cannot be read, before anything is booted."""
    for name in options.inner:
        if not any((tree / "tests").glob(f"*/{name}")):
            raise UsageError(
                f"fstests: -X {name}: no directory of tests has such a file",
                hint=f"it is looked for in {tree}/tests/*; -E FILE takes any",
            )
    for section in made.values():
        options.excluded.check(section.fstyp, section.name)
        for _, lists in _inner(options, tree):
            lists.check()


def leave_out(
    options: FstestsOptions, tree: Path, made: Mapping[str, Section], session: Session,
    section: str, names: Sequence[str],
) -> Mapping[str, str]:  # fmt: skip
    """The cases of a section in the lists that were named, and why they are there."""
    if not (options.inner or options.excluded.paths):
        return {}
    return chosen(options, tree, made[section], kernel_release(session), names)


def chosen(
    options: FstestsOptions, tree: Path, section: Section, release: str, names: Sequence[str]
) -> dict[str, str]:
    """The same, by the release of the guest's kernel."""
    fstyp = section.fstyp
    entries = options.excluded.entries(release, fstyp, section.name)
    for directory, lists in _inner(options, tree):
        entries += [
            replace(entry, word=f"{directory}/{entry.word}")
            for entry in lists.entries(release, fstyp, section.name)
        ]
    return left_out(names, entries, _groups(tree, entries))


def _inner(options: FstestsOptions, tree: Path) -> Iterator[tuple[str, Lists]]:
    """The lists in the directories of tests, by the names of these."""
    for name in options.inner:
        for path in sorted((tree / "tests").glob(f"*/{name}")):
            yield path.parent.name, Lists("fstests", NUMBER.match, (path,))


def _groups(tree: Path, entries: Sequence[Exclusion]) -> Mapping[str, set[str]]:
    """The tests of the groups that entries name."""
    groups: dict[str, set[str]] = defaultdict(set)
    if not any(entry.group for entry in entries):
        return groups
    for path in (tree / "tests").glob(f"*/{_GROUPS}"):
        for line in path.read_text().splitlines():
            number, *of = line.partition("#")[0].split() or [""]
            for group in of:
                groups[group].add(f"{path.parent.name}/{number}")
    return groups
