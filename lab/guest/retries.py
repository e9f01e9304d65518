# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that strike once: the guest's drivers try a failed request again, unless told not to.

NVMe does so `nvme_core.max_retries` times (drivers/nvme/host/core.c, nvme_decide_disposition), but
not with passthrough; each SCSI disk as often as its `max_retries` says (drivers/scsi/sd.c), which a
command is given when it is made.  virtio-blk fails at once.  What these were stands in a file of
the guest until it is set again, so that a lab that is killed meanwhile loses nothing.
"""

from lab.guest.session import Session

DEADLINE = 60.0
"""Seconds; under TCG it takes half of one."""

_PLACE, _SYSFS = "/run/lab/retries", "/sys"

_NONE = """
if [ ! -e "$1" ]; then
    for file in "$2"/module/nvme_core/parameters/max_retries "$2"/class/scsi_disk/*/max_retries; do
        # Without a program for each: under emulation that is a tenth of a second.
        if [ -e "$file" ]; then read -r now <"$file" && echo "$file $now"; fi
    done >"$1.new"
    mv "$1.new" "$1"
fi
while read -r file before; do
    if [ -e "$file" ]; then
        echo 0 >"$file"
        read -r now <"$file"
        if [ "$now" != 0 ]; then echo "$file: set to 0, and is $now" >&2; exit 1; fi
    fi
done <"$1"
"""

_AGAIN = """
[ -e "$1" ] || exit 0
while read -r file before; do
    if [ -e "$file" ]; then echo "$before" >"$file"; fi
done <"$1"
rm "$1"
"""


def let_errors_through(session: Session) -> None:
    """Have no driver try a failed request again; may be called twice.  Raises GuestError."""
    session.run(["sh", "-ec", _NONE, "sh", _PLACE, _SYSFS], deadline=DEADLINE)


def restore(session: Session) -> None:
    """Have drivers try as often as before; may be called when they do.  Raises GuestError."""
    session.run(["sh", "-ec", _AGAIN, "sh", _PLACE], deadline=DEADLINE)
