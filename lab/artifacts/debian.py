# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages through mmdebstrap, as root or as an ordinary user.

An ordinary user needs sub-ids (/etc/subuid) and newuidmap: mmdebstrap then works in a user
namespace.  What it unpacks belongs to sub-ids that the user cannot remove, so the tree stays in
a scratch directory that mmdebstrap itself cleans, and only single files come out of it.
"""

import getpass
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab.errors import HostError, LackError
from lab.host import cures, dirs, lock
from lab.host.command import missing, owned, run, tail

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Where Debian and Ubuntu keep Debian's keys; without it apt's own trusted keys must do."""

_BACKPORTS = "-backports"

DEADLINE = 1200.0
"""Seconds for one mmdebstrap: a slow network, not a hung one."""

GRACE = 10.0
"""Seconds between asking mmdebstrap to clean up and killing it."""

# In the words of apt 2.6 (libapt-pkg, deb/debmetaindex.cc).
_EXPIRED = re.compile(r"Release file for (?P<file>\S+) is expired \(invalid since (?P<age>[^)]*)\)")
_EARLY = re.compile(r"Release file for (?P<file>\S+) is not valid yet")
_NO_VERSION = re.compile(r"Version '(?P<version>[^']*)' for '(?P<package>[^']*)' was not found")
_NO_PACKAGE = re.compile(r"Unable to locate package (?P<package>\S+)")
_UNREACHED = re.compile(r"Failed to fetch|^E: .*apt-get update", re.MULTILINE)
"""Not `I: running apt-get update...`, which stands in every log of mmdebstrap."""
_NO_EXPIRY = 'Acquire::Check-Valid-Until "false"'
"""An option of apt.conf(5); signatures are checked all the same."""


def extract(
    packages: Sequence[str],
    suite: str,
    target: Path | None,
    *,
    version: str = "",
    hooks: Sequence[str] = (),
    deadline: float = DEADLINE,
) -> None:
    """Unpack packages, with all that they depend on, into the tar file `target`, if any.

    The first one is wanted in `version`, if that is not empty.  Backports build upon another
    suite, `trixie-backports` on `trixie`, so their packages come from both.  `hooks` are carried
    out on what was unpacked, as mmdebstrap's --extract-hook.  `deadline` is in seconds.
    """
    first, *others = packages
    base, more = suite.removesuffix(_BACKPORTS), []
    if base != suite:
        more = [
            # On the same mirror as the other: mmdebstrap knows which that is.
            f"--setup-hook=sed -n 's/ {base} main$/ {suite} main/p' \"$1\"/etc/apt/sources.list"
            ' >"$1"/etc/apt/sources.list.d/backports.list',
            # Also what the package depends on: apt alone would take none of it from backports.
            f'--aptopt=APT::Default-Release "{suite}"',
        ]
    if version:
        first = f"{first}={version}"
    mmdebstrap(
        [
            "--variant=extract",
            f"--include={','.join([first, *others])}",
            *more,
            *(f"--extract-hook={hook}" for hook in hooks),
        ],
        base,
        target,
        scratch=f"package-{packages[0]}-{suite}",
        deadline=deadline,
    )


def mmdebstrap(
    options: Sequence[str],
    suite: str,
    target: Path | None,
    *,
    scratch: str,
    deadline: float = DEADLINE,
) -> None:
    """Run mmdebstrap with `options` for `suite`, writing the tar file `target`, if any.

    `scratch` names the scratch directory; one process at a time uses a name, the others wait, and
    what a killed one left under it is removed first.  Raises HostError with the end of mmdebstrap's
    log.  However this ends, no process and no file of mmdebstrap stays behind.
    """
    check_host()
    # A package can be wanted under two names, and for two artifacts, at the same time.
    name = f"scratch-{scratch}.lock"
    with lock.held(dirs.cache("artifacts", "locks") / name, deadline=deadline):
        _mmdebstrap(options, suite, target, scratch, deadline)


def _mmdebstrap(
    options: Sequence[str], suite: str, target: Path | None, scratch: str, deadline: float
) -> None:
    # Somewhere sub-ids can reach, which a home directory often is not.
    place = Path(tempfile.gettempdir()) / f"lab-{os.getuid()}-{scratch}"
    _remove_scratch(place)
    place.mkdir(mode=0o711)
    from lab.host import settings  # which only a build looks at

    argv = [
        *_private_mounts(),
        "mmdebstrap",
        f"--mode={'root' if os.getuid() == 0 else 'unshare'}",
        *([f"--keyring={KEYRING}"] if KEYRING.exists() else []),
        *(["--aptopt=" + _NO_EXPIRY] if settings.load().debian.accept_expired else []),
        *options,
        f"--format={'tar' if target else 'null'}",
        suite,
        str(target or "-"),
    ]
    try:
        _run_group(argv, place, deadline)
    finally:
        _remove_scratch(place)


def check_host() -> None:
    """Raise LackError, saying what to install or set up, before mmdebstrap starts."""
    if shutil.which("mmdebstrap") is None:
        raise missing("mmdebstrap")
    if os.getuid() != 0:
        check_sub_ids()


def check_sub_ids() -> None:
    """Raise LackError when an ordinary user cannot have the ids of others in a user namespace."""
    user = getpass.getuser()
    if shutil.which("newuidmap") is None:
        raise LackError(
            "building as an ordinary user needs newuidmap",
            hint=f"{cures.install('newuidmap').here()}, or build once as root",
        )
    tables = [_sub_ids(Path(path)) for path in ("/etc/subuid", "/etc/subgid")]
    if not all({user, str(os.getuid())} & table.keys() for table in tables):
        # Ranges of two users must not overlap: each could touch the other's files.
        start = max([100000, *(end for table in tables for end in table.values())])
        span = f"{start}-{start + 65535}"
        raise LackError(
            f"{user} has no sub-ids in /etc/subuid and /etc/subgid",
            hint=f"sudo usermod --add-subuids {span} --add-subgids {span} {user}",
        )


def _sub_ids(table: Path) -> dict[str, int]:
    """Users of a sub-id table (subuid(5)) and the first id after each one's last range."""
    ends: dict[str, int] = {}
    for line in table.read_text().splitlines() if table.exists() else []:
        user, start, count = line.split(":")
        ends[user] = max(ends.get(user, 0), int(start) + int(count))
    return ends


def _private_mounts() -> list[str]:
    """A prefix that keeps what mmdebstrap mounts as root out of the host's mount table.

    Without it, a killed mmdebstrap leaves /proc and /sys mounted below the scratch directory.
    In a container that forbids the namespace, mmdebstrap cannot mount anything either.
    """
    prefix = ["unshare", "--mount", "--propagation=private", "--"]
    if os.getuid() != 0:
        return []
    try:
        run([*prefix, "true"], deadline=10)
    except HostError:
        return []
    return prefix


def _run_group(argv: Sequence[str], scratch: Path, deadline: float) -> None:
    """Run mmdebstrap as a process group of its own, and end the whole group with it."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C"},
            process_group=0,
        )

    # SIGTERM first: mmdebstrap removes its scratch tree.
    with owned(start, grace=GRACE) as process:
        try:
            _, log = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise HostError(f"mmdebstrap: no end after {deadline:.0f} s") from None
    if process.returncode != 0:
        what, cure = f"mmdebstrap: exit status {process.returncode}", _cure(log)
        kind = LackError if cure else HostError
        raise kind(what, detail=tail(log), hint=cure)


def _cure(log: str) -> str:
    """What to do about the failures that are the host's, judged by mmdebstrap's words."""
    if date := _EXPIRED.search(log) or _EARLY.search(log):
        return _cure_of_dates(date)
    if "unshare" in log or "newuidmap" in log or "Operation not permitted" in log:
        allow = cures.USER_NAMESPACES.here()
        return f"user namespaces seem to be forbidden: {allow}, or build once as root"
    if "NO_PUBKEY" in log or "not signed" in log:
        return cures.install(KEYRING.name).here()
    if "No space left" in log:
        return f"free space in {tempfile.gettempdir()}, or set TMPDIR to a larger file system"
    if lacking := _NO_VERSION.search(log):
        return (
            f"that suite has no {lacking['package']} of version {lacking['version']}, or no longer:"
            " leave the version out for the one that it has now"
        )
    if lacking := _NO_PACKAGE.search(log):
        return f"that suite has no package {lacking['package']}: name another package or suite"
    if _UNREACHED.search(log):
        return "check that this host reaches its Debian mirror, then try again"
    return ""


def _cure_of_dates(date: re.Match[str]) -> str:
    """What to do about a list of packages that is too old or too new for this host's clock."""
    from lab.host.settings import FILE

    clock = f"this host's clock, which says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC,"
    if "age" not in date.groupdict():
        return f"{clock} is behind: set it"
    return (
        f"its list of packages ended {date['age']} ago: the mirror lags, or {clock} is ahead;"
        " set the clock or take another mirror, or accept what the mirror has, whose signatures"
        f" are checked still: `debian: {{accept_expired: true}}` in {dirs.config(FILE)}"
    )


def _remove_scratch(place: Path) -> None:
    """Remove a scratch directory, sub-ids' files included; refuse one that is not ours."""
    try:
        status = place.lstat()
    except FileNotFoundError:
        return
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise HostError(f"{place} belongs to somebody else", hint="set TMPDIR to a place of yours")
    try:
        for path in place.iterdir():
            _remove(path)
        place.rmdir()
    except OSError as error:
        raise HostError(
            f"cannot remove {place}: {error.strerror}",
            hint="a build that was killed may still be ending: try again in ten seconds",
        ) from error


def _remove(path: Path) -> None:
    if os.getuid() not in (0, path.lstat().st_uid):
        # Only root of the user namespace may remove what belongs to its sub-ids; the emptied
        # directory can be removed by the user, who owns the one above.
        empty = ["find", str(path), "-mindepth", "1", "-delete"]
        run(["mmdebstrap", "--unshare-helper", *empty], deadline=120, cwd=Path("/"))
        path.rmdir()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
