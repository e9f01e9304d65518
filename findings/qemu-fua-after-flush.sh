#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU 10.0.13 and 11.1.3: the first write with FUA after a flush is not made durable.
#
# qemu-io writes 4 KiB, flushes, and writes twice with FUA (write -f).  Of the file, with the
# host's page cache as the write cache, QEMU 7.2.22 syncs each of the two: a pwrite64, then a
# fdatasync.  10.0.13 and 11.1.3 begin the second write before the first was synced; one that is
# the last before a power cut is lost, though it was acknowledged.  Why: FUA became a flush inside
# of the write, before the write is counted as one that a flush would have something to do for.
# A write without FUA in between hides it.
. "$(dirname "$0")/lib"
command -v strace >/dev/null || cannot "strace is missing: apt-get install strace"

# Each system call on the file in its order; what comes after the last write is qemu-io's own
# flush as it ends.
calls() {
    of "$1" qemu-io
    truncate -s 1M "$WORK/disk"
    strace -f -qq -e trace=pwrite64,fdatasync -o "$WORK/trace" \
        "${RUN[@]}" -t writeback -f raw \
        -c 'write 0 4k' -c flush -c 'write -f 4k 4k' -c 'write -f 8k 4k' "$WORK/disk" >/dev/null
    grep -o 'pwrite64\|fdatasync' "$WORK/trace" | head -n 5 | tr '\n' ' '
    echo
}

debian "$WORK/old" bookworm qemu-utils=1:7.2+dfsg-7+deb12u18+b3
debian "$WORK/stable" trixie qemu-utils=1:10.0.13+ds-0+deb13u1
debian "$WORK/new" sid qemu-utils=1:11.1.3+ds-1
stated <<END
7.2: pwrite64 fdatasync pwrite64 fdatasync pwrite64 
10.0: pwrite64 fdatasync pwrite64 pwrite64 fdatasync 
11.1: pwrite64 fdatasync pwrite64 pwrite64 fdatasync 
END
expect <<END
7.2: $(calls "$WORK/old")
10.0: $(calls "$WORK/stable")
11.1: $(calls "$WORK/new")
END
