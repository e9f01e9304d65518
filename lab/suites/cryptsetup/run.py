"""A run of cryptsetup's own tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.guest.ssh import Session
from lab.profile.models import Profile
from lab.results.cases import Status
from lab.suites import known as known_failures
from lab.suites import tree as trees
from lab.suites.campaign import Job, Watcher, carry_out
from lab.suites.cryptsetup.options import MAKEFILE, Options, select
from lab.suites.external import TREE, Command
from lab.suites.marks import MarkReader
from lab.suites.outcome import Outcome
from lab.suites.progress import Ended

NAME = "cryptsetup"
IMAGE = "fstests"

LAYOUT = trees.Layout(
    NAME,
    "tests/verity-compat-test",
    {
        "tests/Makefile.am": MAKEFILE,
        "src/veritysetup.c": "veritysetup",
        "src/integritysetup.c": "integritysetup",
        "tests/differ.c": "tests/differ",
    },
)

SKIPPED = 77
"""How a test ends that was not run (automake's manual, Scripts-based Testsuites)."""

_FAILED = "FAILED backtrace:"
"""What the scripts say behind the reason (their function fail)."""

_EACH = """
for name; do
    echo "== $name begins"
    "./$name"
    echo "== $name ends $?"
done
"""
_MODULES = "loop dm-crypt dm-verity dm-integrity dm-zero"
"""What the first of cryptsetup's tests loads (00modules-test), for all that follow; and loop."""


def run(
    profile: Profile, place: Path, options: Options, tree: Path | None, watcher: Watcher,
    on: str = "",
) -> Outcome:  # fmt: skip
    """Run cryptsetup's tests in a guest of a profile, whose file is at `place`.

    They make their own devices.  `tree` is a built one, by default the one in the user's settings,
    `on` a guest that an earlier run left up.  Raises UsageError, ProfileError and HostError before
    anything is booted; see carry_out().
    """
    tree = trees.choose(LAYOUT, tree)
    names = select(tree, options)
    job = Job(
        name=NAME,
        profile=profile.model_copy(update={"image": options.image or IMAGE}),
        suite=Scripts(),
        layout=LAYOUT,
        tree=tree,
        select=lambda _session, _section: names,
        fs={"": ""},
        configs={},
        asked=options.document(),
        known=known_failures.chosen(options.known, place, NAME),
        driving=options,
        on=on,
    )
    return carry_out(job, watcher)


@dataclass(frozen=True)
class Scripts:
    """How the scripts are driven."""

    def prepare(self, session: Session, section: str) -> None:
        """Load the modules that all of them need, where the kernel has such modules."""
        argv = ["sh", "-c", f"for module in {_MODULES}; do modprobe -q $module; done; true"]
        session.run(argv, deadline=60)

    def command(self, section: str, names: Sequence[str]) -> Command:
        """A loop over the scripts."""
        # Programs that libtool made look for the tree's library where it was built.
        env = {"LD_LIBRARY_PATH": f"{TREE}/.libs"}
        return Command(["sh", "-c", _EACH, "sh", *names], cwd=f"{TREE}/tests", env=env)

    def reader(self, names: Sequence[str]) -> MarkReader:
        """What understands the loop."""
        return MarkReader(judge)

    def evidence(self, section: str, name: str) -> dict[str, str]:
        """The scripts leave nothing behind but what they said."""
        return {}


def judge(name: str, status: int, said: str) -> Ended:
    """What came of a script: 0 passed, 77 not run, anything else failed."""
    said = said.strip()
    if status == 0:
        return Ended(name, Status.PASS, "", said)
    words = said.partition(_FAILED)[0].split("\n")
    last = next((word.strip() for word in reversed(words) if word.strip()), "it did not say why")
    if status == SKIPPED:
        return Ended(name, Status.NOTRUN, last, said)
    return Ended(name, Status.FAIL, f"exit status {status}: {last}", said)
