#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU 7.2.22: `discard=ignore` of a raw node does not keep zeroes from punching holes.
#
# A guest's Write Zeroes or WRITE SAME with the unmap bit (qemu-io: write -z -u) on a raw node with
# discard=ignore: 7.2.22 takes 512 KiB of a file of 1 MiB away from the file system (1024 of 2048
# sectors of 512 bytes are left), unless the file node below has discard=ignore as well, whose
# default is to unmap when it is a node of its own.  10.0.13 and 11.1.3 leave all 2048.  A plain
# discard is ignored by all.  Who proves with a file's allocation that nothing was thrown away
# must set it at both nodes.
. "$(dirname "$0")/lib"

sectors() {
    of "$1" qemu-io
    head -c 1M /dev/urandom >"$WORK/disk" && sync "$WORK/disk"
    "${RUN[@]}" --image-opts "driver=raw,discard=ignore,file.driver=file,file.filename=$WORK/disk$3" \
        -c "$2" -c flush >/dev/null
    stat -c %b "$WORK/disk"
}

row() {
    echo "$1: $(sectors "$2" 'write -z -u 0 512k' ''), file ignores too:" \
        "$(sectors "$2" 'write -z -u 0 512k' ,file.discard=ignore)," \
        "discard: $(sectors "$2" 'discard 0 512k' '')"
}

debian "$WORK/old" bookworm qemu-utils=1:7.2+dfsg-7+deb12u18+b3
debian "$WORK/stable" trixie qemu-utils=1:10.0.13+ds-0+deb13u1
debian "$WORK/new" sid qemu-utils=1:11.1.3+ds-1
stated <<END
7.2: 1024, file ignores too: 2048, discard: 2048
10.0: 2048, file ignores too: 2048, discard: 2048
11.1: 2048, file ignores too: 2048, discard: 2048
END
{
    row 7.2 "$WORK/old"
    row 10.0 "$WORK/stable"
    row 11.1 "$WORK/new"
} | expect
