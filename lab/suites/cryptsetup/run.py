# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of cryptsetup's own tests."""

import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.guest.session import Session
from lab.results.cases import Case, CaseStatus
from lab.suites.cryptsetup.options import MAKEFILE, CryptsetupOptions, select
from lab.suites.cryptsetup.parts import SEPARATOR, SKIPPED
from lab.suites.outcome import Results
from lab.suites.request import Assignment
from lab.suites.upstream.campaign import CampaignPlan, carry_out
from lab.suites.upstream.driver import BASE, TREE, Command
from lab.suites.upstream.known import known_failures
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.reader import CaseEnd
from lab.suites.upstream.tree import TreeLayout, choose_tree
from lab.suites.watch import Watcher

NAME = "cryptsetup"
IMAGE = "fstests"

LAYOUT = TreeLayout(
    NAME,
    "tests/verity-compat-test",
    {
        "tests/Makefile.am": MAKEFILE,
        "src/veritysetup.c": "veritysetup",
        "src/integritysetup.c": "integritysetup",
        "tests/differ.c": "tests/differ",
    },
)

_TESTS = f"{TREE}/tests"
_NOT_APPLICABLE = re.compile(r"\[N/A[^]]*\]\Z")
"""The last that is said of a part which the scripts find that the kernel does not offer."""
_FAILED = "FAILED backtrace:"
"""What the scripts say behind the reason (their function fail)."""

_EACH = """
for name; do
    echo "== $name begins"
    "./$name"
    echo "== $name ends $?"
done
"""
_INSTEAD = f"{BASE}/tasklets"
"""Where the scripts find their programs (their CRYPTSETUP_PATH) when tasklets are asked for."""
_PROGRAMS = ("cryptsetup", "veritysetup", "integritysetup")
_TASKLETS = """\
for word; do
    case $word in open | create) set -- "$@" --use-tasklets; break ;; esac
done
"""
_WRITE_DEADLINE = 120.0
_MODULES = "loop dm-crypt dm-verity dm-integrity dm-zero"
"""What the first of cryptsetup's tests loads (00modules-test), for all that follow; and loop."""


def run(asked: Assignment[CryptsetupOptions], watcher: Watcher[Case]) -> Results:
    """Run cryptsetup's tests in a guest of a profile.

    They make their own devices.  The tree is a built one, by default the one in the user's
    settings.  Raises UsageError, ProfileError and HostError before anything is booted; see
    carry_out().
    """
    profile, options = asked.profile, asked.options
    tree = choose_tree(LAYOUT, asked.request.tree)
    chosen = select(tree, options)
    plan = CampaignPlan(
        name=NAME,
        profile=profile.model_copy(update={"image": options.image or IMAGE}),
        suite=Scripts({name: text for name, text in chosen.items() if text}, options.tasklets),
        layout=LAYOUT,
        tree=tree,
        select=lambda _session, _section: list(chosen),
        fs={"": ""},
        configs={},
        asked=options.document(),
        known=known_failures(options.known, asked.place, NAME),
        driving=options,
        on=asked.request.on,
    )
    return carry_out(plan, watcher)


@dataclass(frozen=True)
class Scripts:
    """How the scripts are driven.

    `parts` has the texts of those that are made for the run, by name; with `tasklets` veritysetup
    is told to use tasklets whenever it activates a device.
    """

    parts: Mapping[str, str] = field(default_factory=dict)
    tasklets: bool = False

    def prepare(self, session: Session, section: str) -> None:
        """Load the modules that all of them need, where the kernel has such modules, and write what
        the tree does not have."""
        argv = ["sh", "-c", f"for module in {_MODULES}; do modprobe -q $module; done; true"]
        session.run(argv, deadline=60)
        made = {f"{_TESTS}/{name}": text for name, text in self.parts.items()}
        if self.tasklets:
            made |= {f"{_INSTEAD}/{name}": instead(name) for name in _PROGRAMS}
        if made:
            argv = ["tar", "-xz", "-C", "/"]
            session.run(argv, deadline=_WRITE_DEADLINE, stdin=archive(made))

    def command(self, section: str, names: Sequence[str]) -> Command:
        """A loop over the scripts."""
        # Programs that libtool made look for the tree's library where it was built.
        env = {"LD_LIBRARY_PATH": f"{TREE}/.libs"}
        if self.tasklets:
            env["CRYPTSETUP_PATH"] = _INSTEAD
        return Command(["sh", "-c", _EACH, "sh", *names], cwd=_TESTS, env=env)

    def reader(self, names: Sequence[str]) -> MarkReader:
        """What understands the loop."""
        return MarkReader(judge)

    def evidence(self, section: str, name: str) -> dict[str, str]:
        """The scripts leave nothing behind but what they said."""
        return {}


def instead(program: str) -> str:
    """A program that does the same as the tree's, but activates dm-verity with tasklets."""
    more = _TASKLETS if program == "veritysetup" else ""
    return f'#!/bin/sh\n{more}exec {TREE}/{program} "$@"\n'


def archive(files: Mapping[str, str]) -> bytes:
    """A compressed tar file of programs, by their paths."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz", compresslevel=1) as archive:
        for path, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.mode, member.size = 0o755, len(data)
            archive.addfile(member, io.BytesIO(data))
    return written.getvalue()


def judge(name: str, status: int, said: str) -> CaseEnd:
    """What came of a script: 0 passed, 77 not run, anything else failed."""
    said = said.strip()
    if status == 0 and SEPARATOR in name and _NOT_APPLICABLE.search(said):
        return CaseEnd(name, CaseStatus.NOTRUN, said.splitlines()[-1], said)
    if status == 0:
        return CaseEnd(name, CaseStatus.PASS, "", said)
    words = said.partition(_FAILED)[0].split("\n")
    last = next((word.strip() for word in reversed(words) if word.strip()), "it did not say why")
    if status == SKIPPED:
        return CaseEnd(name, CaseStatus.NOTRUN, last, said)
    return CaseEnd(name, CaseStatus.FAIL, f"exit status {status}: {last}", said)
