# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of fstests: what check is told, and where it leaves what it has to say."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.errors import GuestError, UsageError
from lab.guest.session import Session
from lab.profile.models import Profile
from lab.results.cases import Case
from lab.suites.fstests import lists
from lab.suites.fstests.faults.making import GuestFaults
from lab.suites.fstests.faults.plan import FaultPlan
from lab.suites.fstests.faults.recovery import FileSystemRecovery
from lab.suites.fstests.options import FstestsOptions
from lab.suites.fstests.output import FstestsReader, listed
from lab.suites.fstests.sections import (
    SCRATCH_MNT,
    TEST_DIR,
    Section,
    SectionRequest,
    sections,
)
from lab.suites.outcome import Results
from lab.suites.request import Assignment
from lab.suites.upstream.campaign import CampaignPlan, carry_out
from lab.suites.upstream.devices import LINKS, boot_profile
from lab.suites.upstream.driver import BASE, RESULTS, TREE, Command
from lab.suites.upstream.known import known_failures
from lab.suites.upstream.tree import TreeLayout, choose_tree
from lab.suites.watch import Watcher

NAME = "fstests"
IMAGE = "fstests"

LAYOUT = TreeLayout(
    NAME,
    "check",
    {
        "ltp/fsx.c": "ltp/fsx",
        "ltp/fsstress.c": "ltp/fsstress",
        "src/lstat64.c": "src/lstat64",
        "tools/mkgroupfile": "tests/generic/group.list",
    },
)

EVIDENCE = (".out.bad", ".full", ".hints", ".core")
"""What check leaves of a case, as suffixes of its name (its own _stash_fail_loop_files)."""

_MKFS_DEADLINE = 600.0
_LIST_DEADLINE = 600.0

# Mount's tables have devices by these names, and check compares names (common/rc,
# _check_mounted_on); its own CANON_DEVS makes others of those of the device mapper.
_NODES = """for link; do
    node=$(readlink -e "$link") || { echo "no device $link" >&2 && exit 1; }
    mapped=/sys/class/block/${node##*/}/dm/name
    [ ! -e "$mapped" ] || node=/dev/mapper/$(cat "$mapped")
    echo "$node"
done"""
_CLEAR = 'for dir; do mkdir -p "$dir"; umount -R "$dir" 2>/dev/null; done; true'


def run(asked: Assignment[FstestsOptions], watcher: Watcher[Case]) -> Results:
    """Run fstests on a profile.

    The tree is a built one, by default the one in the user's settings.  Raises UsageError,
    ProfileError and HostError before anything is booted; see carry_out().
    """
    profile, options = asked.profile, asked.options
    tree = choose_tree(LAYOUT, asked.request.tree)
    wanted = SectionRequest(options.fs, options.devices, options.pool)
    made = meant(sections(profile, wanted), options)
    lists.check(options, tree, made)
    _check_names(tree, options.names)
    suite = Fstests(made)
    booted = boot_profile(profile).model_copy(update={"image": options.image or IMAGE})
    plan = CampaignPlan(
        name=NAME,
        profile=booted,
        suite=suite,
        layout=LAYOUT,
        tree=tree,
        select=lambda session, section: suite.select(session, section, options),
        fs={section.name: section.fstyp for section in made.values()},
        configs={section.name: section.config(RESULTS) for section in made.values()},
        asked=options.document(),
        known=known_failures(options.known, asked.place, NAME),
        driving=options,
        on=asked.request.on,
        leave_out=partial(lists.leave_out, options, tree, made),
        faulted=_faulted(options.faults, booted, made),
    )
    return carry_out(plan, watcher)


def meant(found: Sequence[Section], options: FstestsOptions) -> dict[str, Section]:
    """The sections that are meant, by name.  Raises UsageError."""
    names = [section.name for section in found]
    for name in (*options.sections, *options.not_sections):
        if name not in names:
            raise UsageError(
                f"fstests: the profile has no section {name}",
                hint=f"it has {', '.join(names)}: its own file systems; --fs TYPE makes others",
            )
    left = set(options.sections or names) - set(options.not_sections)
    if not left:
        raise UsageError("fstests: no section is left", hint="see -s and -S after --")
    return {section.name: section for section in found if section.name in left}


def _faulted(
    plan: FaultPlan | None, booted: Profile, made: Mapping[str, Section]
) -> Callable[[], GuestFaults] | None:
    """What makes the faults of a plan.  Raises ProfileError for what the profile does not have."""
    if plan is None:
        return None
    plan.check(booted)
    return partial(GuestFaults, plan, booted, FileSystemRecovery(made, stacked=bool(booted.layers)))


def _check_names(tree: Path, names: Sequence[str]) -> None:
    """Raise UsageError for a case that the tree does not have."""
    for name in names:
        if not any((tree / "tests").glob(name)):
            raise UsageError(f"fstests: the tree has no test {name}", hint=f"see {tree}/tests")


@dataclass(frozen=True)
class Fstests:
    """How check is driven; `sections` by name."""

    sections: Mapping[str, Section]

    def prepare(self, session: Session, section: str) -> None:
        """Make the file system that check expects to find on TEST_DEV, and write its
        configuration.  Raises GuestError."""
        one = self.sections[section]
        # A mount of the profile's own would share its page cache with that of the test.
        mounts = [TEST_DIR, SCRATCH_MNT, *(export.mount for export in one.exports.values())]
        session.run(["sh", "-c", _CLEAR, "sh", *mounts], deadline=60)
        try:
            for argv in one.making():
                session.run(argv, deadline=_MKFS_DEADLINE)
        except GuestError as error:
            raise GuestError(
                f"section {section}: no {one.fstyp} on {one.devices['test']}: {error.message}",
                detail=error.detail,
                hint="a larger device may help: --set 'devices[0].namespaces[0].size=1G'",
            ) from error
        session.write(f"{BASE}/{section}.config", _with_nodes(session, one.config(RESULTS)))

    def command(self, section: str, names: Sequence[str]) -> Command:
        """check, told to run these cases."""
        return Command(["./check", *names], env=self._env(section))

    def select(self, session: Session, section: str, options: FstestsOptions) -> list[str]:
        """The cases that the arguments of check select in a section, in its order.

        Raises GuestError when check does not list them.
        """
        plain = options.names and not options.filters
        if plain and not any(set("*?[") & set(name) for name in options.names):
            return list(options.names)
        self.prepare(session, section)
        env = [f"{name}={value}" for name, value in self._env(section).items()]
        argv = ["./check", "-n", *options.filters, *options.names]
        asked = ["env", f"--chdir={TREE}", *env, *argv]
        answer = session.run(asked, deadline=_LIST_DEADLINE, check=False)
        found = listed(answer.stdout)
        if not found:
            raise GuestError(
                f"section {section}: check selects no test",
                detail=answer.stdout + answer.stderr,
                hint="see the arguments after --",
            )
        return found

    def reader(self, names: Sequence[str]) -> FstestsReader:
        """What understands check."""
        return FstestsReader(names)

    def evidence(self, section: str, name: str) -> dict[str, str]:
        """check's own files of a case."""
        return {
            suffix.removeprefix("."): f"{RESULTS}/{section}/{name}{suffix}" for suffix in EVIDENCE
        }

    def _env(self, section: str) -> dict[str, str]:
        # The whole diff of a failing case instead of ten lines of it.
        return {"HOST_OPTIONS": f"{BASE}/{section}.config", "DIFF_LENGTH": "0"}


def _with_nodes(session: Session, config: str) -> str:
    """A configuration with the nodes of devices in place of the links to them."""
    links = list(dict.fromkeys(re.findall(rf"{LINKS}/\S+", config)))
    said = session.run(["sh", "-ec", _NODES, "sh", *links], deadline=60).stdout
    nodes = dict(zip(links, said.split(), strict=True))
    return re.sub(rf"{LINKS}/\S+", lambda link: nodes[link[0]], config)
