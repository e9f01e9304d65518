# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a file system recovers from faults: the case that follows each in which they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.guest.session import Session
from lab.results.cases import CaseStatus
from lab.suites.fstests.sections import SCRATCH_MNT, TEST_DIR, Section
from lab.suites.upstream.driver import Command
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.reader import CaseEnd

# The layers below come up anew: a file system among them may have shut itself down.
_RECOVER = r"""
name=$1 stacked=$2 fstyp=$3 device=$4 options=$5 dir=$6 scratch=$7
shift 7
parts=$*

gone() {
    for mount in "$scratch" "$dir"; do
        tries=0
        while mountpoint -q "$mount"; do
            umount -R "$mount" && continue
            [ "$((tries += 1))" -lt 5 ] || return
            sleep 2
        done
    done
}

whole() {
    case $fstyp in
    xfs) xfs_repair -n $parts "$device" ;;
    # What e2fsck mends unasked at every boot is no damage: its status is 1 then (e2fsck.8).
    ext4) e2fsck -fp "$device" || [ $? -eq 1 ] ;;
    btrfs) btrfs check --readonly "$device" ;;
    f2fs) fsck.f2fs -f --dry-run "$device" ;;
    esac
}

step() {
    what=$1
    shift
    "$@" >/tmp/recovery.said 2>&1 && return
    status=$?
    echo "$what: exit status $status"
    tail -n 40 /tmp/recovery.said
    return 1
}

echo "== $name begins"
# In a guest that had to be booted again there is nothing yet.
mkdir -p "$dir" "$scratch"
step "it cannot be unmounted" gone &&
    { [ "$stacked" = no ] || step "the layers do not go down" layers down; } &&
    { [ "$stacked" = no ] || step "the layers do not come up" layers up; } &&
    step "it does not mount" mount -t "$fstyp" $options "$device" "$dir" &&
    step "it cannot be unmounted" gone &&
    step "it is damaged" whole
echo "== $name ends $?"
"""


@dataclass(frozen=True)
class FileSystemRecovery:
    """Mounts what is on TEST_DEV after the faults are over, unmounts it, and checks it.

    `stacked`: the profile has layers below it.
    """

    sections: Mapping[str, Section]
    stacked: bool

    def prepare(self, session: Session, section: str) -> None:
        """Nothing: what the case before has left is what it is about."""

    def command(self, section: str, names: Sequence[str]) -> Command:
        """The script, for one case."""
        one = self.sections[section]
        (name,) = names
        wanted = [*one.options, *one.parts.mount()]
        options = f"-o {','.join(wanted)}" if wanted else ""
        words = [
            name, "yes" if self.stacked else "no", one.fstyp, one.address("test"), options,
            TEST_DIR, SCRATCH_MNT, *one.parts.repair(),
        ]  # fmt: skip
        return Command(["sh", "-c", _RECOVER, "sh", *words])

    def reader(self, names: Sequence[str]) -> MarkReader:
        """What understands the script."""
        return MarkReader(_ended)

    def evidence(self, section: str, name: str) -> dict[str, str]:
        """All there is, it says."""
        return {}


def _ended(name: str, status: int, said: str) -> CaseEnd:
    if status == 0:
        return CaseEnd(name, CaseStatus.PASS, "", said)
    return CaseEnd(name, CaseStatus.FAIL, said.partition("\n")[0], said)
