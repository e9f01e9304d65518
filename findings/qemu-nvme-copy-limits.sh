#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU's NVMe Copy and its limits: what is above MSSRL, MCL and MSRC, in three versions.
#
# A namespace with MSSRL 8 blocks, MCL 16 blocks, MSRC 3 (zero-based: 4 ranges).  The NVM Command
# Set specification asks for Command Size Limit Exceeded (183h; with DNR 4183h) above each.
# QEMU 7.2.22 answers Internal Error (006h) for a range above MSSRL, and does not know MCL at all: it
# copies 24 blocks where 16 are allowed.  10.0.13 and 11.1.3 answer 4183h for all three.  In every
# version the ranges before one that is too long have been copied by then, since MSSRL is looked
# at range by range, MCL and MSRC before the first.  The guest is Linux 6.12.118, by passthrough.
. "$(dirname "$0")/lib"

debian "$WORK/guest" trixie linux-image-amd64=6.12.118-1 nvme-cli=2.13-2 \
    busybox-static dash kmod coreutils
debian "$WORK/old" bookworm qemu-system-x86=1:7.2+dfsg-7+deb12u18+b3
debian "$WORK/stable" trixie qemu-system-x86=1:10.0.13+ds-0+deb13u1
debian "$WORK/new" sid qemu-system-x86=1:11.1.3+ds-1
cat >"$WORK/body" <<'END'
# What a copy of these ranges (first blocks, zero-based numbers of blocks) ends with, and how many
# blocks of the destination have the source's data.
copy() {
    dd if=/dev/zero of=/dev/nvme0n1 bs=512 seek=1000 count=64 oflag=direct 2>/dev/null
    said=$(nvme copy /dev/ng0n1 --sdlba=1000 --slbs="$2" --blocks="$3" 2>&1)
    case $said in *'(0x'*) said=${said##*(0x} && said=${said%%)*} ;; *) said=success ;; esac
    new=$(dd if=/dev/nvme0n1 bs=512 skip=1000 count=64 iflag=direct 2>/dev/null | tr -d '\0' | wc -c)
    echo "$1: $said, $((new / 512)) copied" >&3
}
tr '\0' x </dev/zero | dd of=/dev/nvme0n1 bs=512 count=512 iflag=fullblock oflag=direct 2>/dev/null
copy "at MSSRL" 0 7
copy "above MSSRL" 0 8
copy "second range above MSSRL" 0,100 3,8
copy "at MCL" 0,100 7,7
copy "above MCL" 0,100,200 7,7,7
copy "at MSRC" 0,100,200,300 1,1,1,1
copy "above MSRC" 0,100,200,300,400 1,1,1,1,1
END
pack "$WORK/guest" "$WORK/body" nvme
stated <<END
7.2
at MSSRL: success, 8 copied
above MSSRL: 6, 0 copied
second range above MSSRL: 6, 4 copied
at MCL: success, 16 copied
above MCL: success, 24 copied
at MSRC: success, 8 copied
above MSRC: 4183, 0 copied
10.0
at MSSRL: success, 8 copied
above MSSRL: 4183, 0 copied
second range above MSSRL: 4183, 4 copied
at MCL: success, 16 copied
above MCL: 4183, 0 copied
at MSRC: success, 8 copied
above MSRC: 4183, 0 copied
11.1
at MSSRL: success, 8 copied
above MSSRL: 4183, 0 copied
second range above MSSRL: 4183, 4 copied
at MCL: success, 16 copied
above MCL: 4183, 0 copied
at MSRC: success, 8 copied
above MSRC: 4183, 0 copied
END
disk medium 16M
for qemu in old:7.2 stable:10.0 new:11.1; do
    echo "${qemu#*:}"
    boot "$WORK/${qemu%:*}" "$WORK"/guest/boot/vmlinuz-* "${DISK[@]}" -device nvme,serial=one \
        -device nvme-ns,drive=medium,mssrl=8,mcl=16,msrc=3
done | expect
