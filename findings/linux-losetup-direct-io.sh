#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A loop device with blocks of 512 bytes over a disk with blocks of 4096 is buffered, in silence.
#
# `losetup --sector-size 512 --direct-io=on` of a file on ext4 over an NVMe namespace with blocks of
# 4096 bytes exits with 0 and prints nothing; `losetup --list` then says DIO 0.  Without --sector-size
# the loop device takes blocks of 4096 bytes and is direct.  So it is with Linux 6.12.118 and 7.2.13
# (util-linux 2.41.5).  A test that means to bypass the host file's cache does not, unless it looks.
. "$(dirname "$0")/lib"

tools=(util-linux=2.41.5-0+deb13u1 mount=2.41.5-0+deb13u1 e2fsprogs busybox-static dash kmod coreutils)
debian "$WORK/trixie" trixie linux-image-amd64=6.12.118-1 qemu-system-x86=1:10.0.13+ds-0+deb13u1 "${tools[@]}"
debian "$WORK/sid" sid linux-image-amd64=7.2.13-1
cat >"$WORK/body" <<'END'
mkfs.ext4 -q -F /dev/nvme0n1 && mount /dev/nvme0n1 /mnt && truncate -s 16M /mnt/file
for options in "--sector-size 512 --direct-io=on" "--direct-io=on"; do
    said=$(losetup $options /dev/loop0 /mnt/file 2>&1)
    status=$?
    set -- $(losetup --list --noheadings --output DIO,LOG-SEC /dev/loop0)
    echo "$options: exit status $status '$said', DIO $1, blocks of $2" >&3
    losetup --detach /dev/loop0
done
END
stated <<END
6.12
--sector-size 512 --direct-io=on: exit status 0 '', DIO 0, blocks of 512
--direct-io=on: exit status 0 '', DIO 1, blocks of 4096
7.2
--sector-size 512 --direct-io=on: exit status 0 '', DIO 0, blocks of 512
--direct-io=on: exit status 0 '', DIO 1, blocks of 4096
END
disk medium 64M
device=("${DISK[@]}" -device "nvme,serial=one"
    -device "nvme-ns,drive=medium,logical_block_size=4096,physical_block_size=4096")
{
    kernel=$(ls "$WORK"/trixie/boot/vmlinuz-*)
    pack "$WORK/trixie" "$WORK/body" nvme ext4 loop
    echo 6.12 && boot "$WORK/trixie" "$kernel" "${device[@]}"
    # The same user space with the other kernel.
    rm -rf "$WORK/trixie/usr/lib/modules" && mv "$WORK/sid/usr/lib/modules" "$WORK/trixie/usr/lib/"
    pack "$WORK/trixie" "$WORK/body" nvme ext4 loop
    echo 7.2 && boot "$WORK/trixie" "$WORK"/trixie/usr/lib/modules/*/vmlinuz "${device[@]}"
} | expect
