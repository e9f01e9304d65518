#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux 7.2: once a file on XFS shares blocks, a loop device made of it is buffered, in silence.
#
# `losetup --sector-size 512 --direct-io=on` of a file on XFS over a disk with blocks of 512 bytes is
# direct on Linux 6.12.118 and on 7.2.13.  Then one reflink is made within the file.  On 6.12 nothing
# changes; on 7.2 the same losetup exits with 0, prints nothing, and the loop device is buffered
# (DIO 0), since XFS now reports a direct write alignment of a whole block for files that share some
# (drivers/block/loop.c compares it with the loop device's blocks).  Without --sector-size losetup
# makes blocks of 4096 bytes of it then, on which what was written before with 512 may not fit.  Who
# tests reflinks through a loop device has lost O_DIRECT after the first.
. "$(dirname "$0")/lib"

tools=(util-linux=2.41.5-0+deb13u1 mount=2.41.5-0+deb13u1 xfsprogs=6.13.0-2+deb13u1 busybox-static
    dash kmod coreutils)
debian "$WORK/trixie" trixie linux-image-amd64=6.12.118-1 qemu-system-x86=1:10.0.13+ds-0+deb13u1 "${tools[@]}"
debian "$WORK/sid" sid linux-image-amd64=7.2.13-1
cat >"$WORK/body" <<'END'
attach() {
    losetup $2 --direct-io=on /dev/loop0 /mnt/file
    status=$?
    set -- "$1" $(losetup --list --noheadings --output DIO,LOG-SEC /dev/loop0)
    echo "$1: exit status $status, DIO $2, blocks of $3" >&3
    losetup --detach /dev/loop0
}
mkfs.xfs -q -f /dev/nvme0n1 && mount /dev/nvme0n1 /mnt
dd if=/dev/zero of=/mnt/file bs=1M count=8 2>/dev/null
attach "before" "--sector-size 512"
xfs_io -c "reflink /mnt/file 0 4m 1m" /mnt/file >/dev/null
attach "after a reflink" "--sector-size 512"
attach "without --sector-size" ""
END
stated <<END
6.12
before: exit status 0, DIO 1, blocks of 512
after a reflink: exit status 0, DIO 1, blocks of 512
without --sector-size: exit status 0, DIO 1, blocks of 512
7.2
before: exit status 0, DIO 1, blocks of 512
after a reflink: exit status 0, DIO 0, blocks of 512
without --sector-size: exit status 0, DIO 1, blocks of 4096
END
disk medium 400M
device=("${DISK[@]}" -device "nvme,serial=one" -device "nvme-ns,drive=medium")
{
    kernel=$(ls "$WORK"/trixie/boot/vmlinuz-*)
    pack "$WORK/trixie" "$WORK/body" nvme xfs loop
    echo 6.12 && boot "$WORK/trixie" "$kernel" "${device[@]}"
    rm -rf "$WORK/trixie/usr/lib/modules" && mv "$WORK/sid/usr/lib/modules" "$WORK/trixie/usr/lib/"
    pack "$WORK/trixie" "$WORK/body" nvme xfs loop
    echo 7.2 && boot "$WORK/trixie" "$WORK"/trixie/usr/lib/modules/*/vmlinuz "${device[@]}"
} | expect
