#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# mkfs.btrfs makes a file system on a disk with blocks of 16 KiB that no kernel with 4 KiB pages mounts.
#
# Linux 7.2.13 has disks with blocks larger than its pages: QEMU's NVMe with logical_block_size=16384
# appears with its size.  XFS (-b size=16k) and ext4 (-b 16384) are made there and mounted.
# mkfs.btrfs of 6.14 succeeds with its default sector size of 4096, which is less than
# the disk can write, and says nothing of it; mount fails with EINVAL and no error of btrfs in the log.
. "$(dirname "$0")/lib"

debian "$WORK/guest" trixie btrfs-progs=6.14-1 xfsprogs=6.13.0-2+deb13u1 e2fsprogs \
    qemu-system-x86=1:10.0.13+ds-0+deb13u1 mount busybox-static dash kmod coreutils grep
debian "$WORK/sid" sid linux-image-amd64=7.2.13-1
cat >"$WORK/body" <<'END'
echo "blocks of $(cat /sys/block/nvme0n1/queue/logical_block_size), $(cat /sys/block/nvme0n1/size) sectors" >&3
for make in "mkfs.btrfs -f" "mkfs.xfs -f -q -b size=16k" "mkfs.ext4 -q -F -b 16384"; do
    $make /dev/nvme0n1 >/dev/null 2>&1
    made=$?
    type=${make%% *}
    dmesg --clear 2>/dev/null || /usr/bin/busybox dmesg -c >/dev/null
    mount -t "${type#mkfs.}" /dev/nvme0n1 /mnt 2>/dev/null
    echo "$make: exit status $made, mount: $?, errors of btrfs in the log: $(/usr/bin/busybox dmesg | grep -c 'BTRFS error\|BTRFS warning')" >&3
    umount /mnt 2>/dev/null
done
END
mkdir -p "$WORK/guest/usr/lib" && mv "$WORK/sid/usr/lib/modules" "$WORK/guest/usr/lib/"
pack "$WORK/guest" "$WORK/body" nvme btrfs xfs ext4
stated <<END
blocks of 16384, 819200 sectors
mkfs.btrfs -f: exit status 0, mount: 32, errors of btrfs in the log: 0
mkfs.xfs -f -q -b size=16k: exit status 0, mount: 0, errors of btrfs in the log: 0
mkfs.ext4 -q -F -b 16384: exit status 0, mount: 0, errors of btrfs in the log: 0
END
disk medium 400M
boot "$WORK/guest" "$WORK"/guest/usr/lib/modules/*/vmlinuz "${DISK[@]}" -device nvme,serial=one \
    -device nvme-ns,drive=medium,logical_block_size=16384,physical_block_size=16384 | expect
