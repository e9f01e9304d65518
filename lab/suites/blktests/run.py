# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of blktests: what check is told, and where it leaves what it has to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lab.artifacts.kernel import ensure_kernel
from lab.errors import UsageError
from lab.guest.session import Session
from lab.profile.models import Profile
from lab.results.cases import Case
from lab.suites.blktests.options import BlktestsOptions
from lab.suites.blktests.output import END, BlktestsReader
from lab.suites.blktests.selection import select
from lab.suites.outcome import Results
from lab.suites.request import Assignment
from lab.suites.upstream.campaign import CampaignPlan, carry_out
from lab.suites.upstream.devices import LINKS, boot_profile, free_devices
from lab.suites.upstream.driver import BASE, RESULTS, Command
from lab.suites.upstream.exclusions import Lists, kernel_release, left_out
from lab.suites.upstream.known import known_failures
from lab.suites.upstream.tree import TreeLayout, choose_tree
from lab.suites.watch import Watcher

NAME = "blktests"
IMAGE = "fstests"

LAYOUT = TreeLayout(
    NAME,
    "check",
    {
        "src/loblksize.c": "src/loblksize",
        "src/discontiguous-io.cpp": "src/discontiguous-io",
        "src/sg/syzkaller1.c": "src/sg/syzkaller1",
    },
)

EVIDENCE = ("out", "out.bad", "full", "dmesg", "kmemleak")
"""What check leaves of a run, as suffixes of the test's name; `out` while it runs (_call_test)."""

_USER = "fsgqa"
"""An ordinary user that the image has."""
_CONFIGS = (f"{BASE}/config.asked", f"{BASE}/config")
"""What the person wants set, and what the lab does, which counts more."""

_DEADLINE = 60.0
_CHECK = f'./check "$@"; status=$?; echo "{END} $status"; exit $status'
_KERNEL_CONFIG = 'mkdir -p /boot && cat >"/boot/config-$(uname -r)"'
_READY = f"""
rm -rf {RESULTS}
mountpoint -q /sys/kernel/config && exit
modprobe configfs
mount -t configfs configfs /sys/kernel/config
"""


def run(asked: Assignment[BlktestsOptions], watcher: Watcher[Case]) -> Results:
    """Run blktests on a profile.

    The tree is a built one, by default the one in the user's settings.  Raises UsageError,
    ProfileError and HostError before anything is booted; see carry_out().
    """
    profile, options = asked.profile, asked.options
    tree = choose_tree(LAYOUT, asked.request.tree)
    names = select(tree, options)
    options.lists.check()
    lab_config = config(devices(profile, options.devices))
    kernel = ensure_kernel(profile.kernel, watcher.progress)
    suite = Blktests(options.config, lab_config, kernel.config.read_bytes(), options.quick)
    plan = CampaignPlan(
        name=NAME,
        profile=boot_profile(profile).model_copy(update={"image": options.image or IMAGE}),
        suite=suite,
        layout=LAYOUT,
        tree=tree,
        select=lambda _session, _section: names,
        fs={"": ""},
        configs={"": options.config + lab_config},
        asked=options.document(),
        known=known_failures(options.known, asked.place, NAME),
        driving=options,
        on=asked.request.on,
        leave_out=partial(_left_out, options.lists),
    )
    return carry_out(plan, watcher)


def _left_out(
    lists: Lists, session: Session, section: str, names: Sequence[str]
) -> Mapping[str, str]:
    """The tests in the lists that were named, and why they are there."""
    return left_out(names, lists.entries(kernel_release(session)) if lists.paths else (), {})


def devices(profile: Profile, asked: Sequence[str]) -> list[str]:
    """The devices to test on: those that were asked for, or all that nothing but a file system on
    top stands on.  Raises UsageError for one that is not such a device."""
    free = free_devices(profile)
    for name in asked:
        if name not in free:
            raise UsageError(
                f"blktests: device {name} cannot be tested: there is none of that name, or "
                "something stands on it",
                hint=f"there are: {', '.join(free) or 'none'}",
            )
    return list(asked or free)


def config(names: Sequence[str]) -> str:
    """The settings of blktests (its Documentation/running-tests.md), which check reads as bash.

    Tests compare a device's name with what sysfs calls it, so that links are followed in the
    guest.  Tests that want several devices at once get all of them.
    """
    nodes = [f'"$(readlink -e "{LINKS}/{name}")"' for name in names]
    lines = [
        f"TEST_DEVS=({' '.join(nodes)})",
        *(['TEST_CASE_DEV_ARRAY[.]="${TEST_DEVS[*]}"'] if len(nodes) > 1 else []),
        f"OUTPUT={RESULTS}",
        "LOGGER_PROG=true",
        f"NORMAL_USER={_USER}",
    ]
    return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Blktests:
    """How check is driven.

    `asked` and `config` are settings of blktests, `kernel` the configuration of the guest's kernel
    (empty where it is not known), `quick` the seconds of check's -q, or 0.
    """

    asked: str
    config: str
    kernel: bytes
    quick: int

    def prepare(self, session: Session, section: str) -> None:
        """Write the settings, and the kernel's configuration where tests look for it; forget
        earlier results, which check would compare with.  Raises GuestError."""
        for path, text in zip(_CONFIGS, (self.asked, self.config), strict=True):
            session.write(path, text)
        if self.kernel:
            argv = ["sh", "-c", _KERNEL_CONFIG]
            session.run(argv, deadline=_DEADLINE, stdin=self.kernel)
        session.run(["sh", "-c", _READY], deadline=_DEADLINE)

    def command(self, section: str, names: Sequence[str]) -> Command:
        """check, told to run these tests."""
        quick = [f"-q{self.quick}"] if self.quick else []
        settings = [word for path in _CONFIGS for word in ("-c", path)]
        return Command(["sh", "-c", _CHECK, "sh", *settings, *quick, *names])

    def reader(self, names: Sequence[str]) -> BlktestsReader:
        """What understands check."""
        return BlktestsReader(names)

    def evidence(self, section: str, name: str) -> dict[str, str]:
        """check's own files of a test, of all its runs: each device and condition has a
        directory."""
        return {f"*.{suffix}": f"{RESULTS}/*/{name}.{suffix}" for suffix in EVIDENCE}
