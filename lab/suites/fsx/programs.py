# SPDX-License-Identifier: GPL-2.0-or-later
"""The suites fsx and fsstress with the programs of a built fstests tree: a case for each seed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.errors import UsageError
from lab.guest.session import Session
from lab.host import settings
from lab.results.cases import Case, CaseStatus
from lab.suites.fstests.run import IMAGE, LAYOUT
from lab.suites.fsx.operations import KINDS
from lab.suites.fsx.options import FsxOptions
from lab.suites.fsx.run import places
from lab.suites.outcome import Results
from lab.suites.request import Assignment
from lab.suites.upstream.campaign import CampaignPlan, carry_out
from lab.suites.upstream.driver import RESULTS, Command
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.options import DrivingOptions
from lab.suites.upstream.reader import CaseEnd
from lab.suites.upstream.tree import find_tree
from lab.suites.watch import Watcher

_FSX_WITHOUT = {
    "copy": "-E", "clone": "-J", "dedupe": "-B", "punch": "-H", "zero": "-z", "collapse": "-C",
    "insert": "-I",
}  # fmt: skip
"""fsx's options that leave a kind of operation out (ltp/fsx.c, usage)."""

_FSSTRESS = {
    "write": "write", "copy": "copyrange", "clone": "clonerange", "dedupe": "deduperange",
    "punch": "punch", "zero": "zero", "collapse": "collapse", "insert": "insert",
    "truncate": "truncate", "fsync": "fsync",
}  # fmt: skip
"""fsstress' names of kinds of operations (ltp/fsstress.c, ops)."""

_PROCESSES = 4

_EACH = """
place=$1 && shift
program=$1 && shift
case $program in
ltp/fsx) last=$place/fsx ;;
*) last= ;;
esac
options= seeds=
while [ "$1" != -- ]; do
    options="$options $1" && shift
done
shift
for seed; do
    rm -rf "$place" && mkdir -p "$place" || exit
    echo "== seed-$seed begins"
    case $program in
    ltp/fsx) "./$program" $options -S "$seed" "$last" ;;
    *) "./$program" $options -s "$seed" ;;
    esac
    echo "== seed-$seed ends $?"
done
"""
"""Arguments: a directory for the test, a program, its options, `--`, and the seeds."""

_BAD = re.compile(r"READ BAD DATA: offset = (0x[0-9a-f]+), size = (0x[0-9a-f]+)")
_RANGE = re.compile(r"^(0x[0-9a-f]+)\s+0x[0-9a-f]+\s+0x[0-9a-f]+\s+0x[0-9a-f]+", re.MULTILINE)
_LOGGED = re.compile(r"^(\d+)\(\s*\d+ mod \d+\): .*$", re.MULTILINE)


def run(asked: Assignment[FsxOptions], watcher: Watcher[Case]) -> Results:
    """Run fsx or fsstress on the file system on top of a profile.

    Raises UsageError, ProfileError and HostError before anything is booted; see carry_out().
    """
    name, profile, options = asked.request.suite, asked.profile, asked.options
    found = asked.request.tree or settings.load().suites.fstests.tree
    if found is None:
        raise UsageError(
            f"{name}: which tree? it is part of fstests", hint="--tree DIR; see docs/fsx.md"
        )
    if options.shutdown or options.replay:
        raise UsageError(f"{name}: --shutdown and --replay are for the lab's own exerciser")
    tree = find_tree(LAYOUT, found)
    where = places(profile, options)
    plan = CampaignPlan(
        name=name,
        profile=profile.model_copy(update={"image": IMAGE}),
        suite=Programs(name, where.mount, options),
        layout=LAYOUT,
        tree=tree,
        select=lambda _session, _section: [
            f"seed-{options.seed + number}" for number in range(options.cases)
        ],
        fs={where.name: ""},
        configs={},
        asked=options.document(),
        known=(),
        driving=DrivingOptions(deadline=options.deadline),
    )
    return carry_out(plan, watcher)


@dataclass(frozen=True)
class Programs:
    """How one of the programs is driven, below the mount point of a file system."""

    name: str
    mount: str
    options: FsxOptions

    def prepare(self, session: Session, section: str) -> None:
        """Make the place for what the program logs."""
        session.run(["mkdir", "-p", f"{RESULTS}/{section}"], deadline=60)

    def command(self, section: str, names: Sequence[str]) -> Command:
        """A loop over the seeds."""
        seeds = [name.removeprefix("seed-") for name in names]
        place = f"{self.mount}/{self.name}"
        words = [place, f"ltp/{self.name}", *self._arguments(section, place), "--", *seeds]
        return Command(["sh", "-c", _EACH, "sh", *words])

    def reader(self, names: Sequence[str]) -> MarkReader:
        """What understands the loop."""
        return MarkReader(_ended)

    def evidence(self, section: str, name: str) -> dict[str, str]:
        """What fsx leaves behind: its log, the operations to replay, and what was expected."""
        if self.name != "fsx":
            return {}
        return {each: f"{RESULTS}/{section}/fsx.{each}" for each in ("fsxlog", "fsxops", "fsxgood")}

    def _arguments(self, section: str, place: str) -> Iterator[str]:
        chosen = self.options.kinds
        if self.name == "fsx":
            yield from ("-q", "-N", str(self.options.ops), "-P", f"{RESULTS}/{section}")
            yield from (flag for kind, flag in _FSX_WITHOUT.items() if kind not in chosen)
            return
        yield from ("-d", place, "-n", str(self.options.ops), "-p", str(_PROCESSES))
        if chosen != KINDS:
            yield from ("-z", "-f", "creat=5")
            for kind in chosen:
                yield from ("-f", f"{_FSSTRESS[kind]}=10")


def _ended(name: str, status: int, said: str) -> CaseEnd:
    if status == 0:
        return CaseEnd(name, CaseStatus.PASS, "", said)
    return CaseEnd(name, CaseStatus.FAIL, _why(said) or f"exit status {status}", said)


def _why(said: str) -> str:
    """What fsx found: where the data is bad, and the last operation in its log."""
    bad = _BAD.search(said)
    if not bad:
        return ""
    first = _RANGE.search(said)
    where = f"bad data from {first[1]} on, " if first else ""
    logged = _LOGGED.findall(said)
    last = f", operation {logged[-1]}" if logged else ""
    return f"{where}in a read of {bad[2]} bytes at {bad[1]}{last}"
