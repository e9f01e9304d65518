#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# btrfs: after a rename into another directory, fsync of that directory makes one file with two names.
#
# foo is there, and durable; it is renamed to A/new, and A is fsynced.  When power goes then, and loses
# nothing, ext4 and XFS have A/new after the next mount, and btrfs of Linux 6.12.118 and 7.2.13 has both:
# foo and A/new are one inode with two links.  The log that fsync wrote says that A has the new name, and
# not that the other directory has lost the old one; `btrfs check` finds no fault with what comes of
# replaying it.  Who fsyncs the directory that a file left as well, or the file itself in place of A, has
# one name.  The disk's content when power goes is a copy of it, read past all caches.
. "$(dirname "$0")/lib"

# Apart from the guest's, whose memory has to hold them all.
debian "$WORK/qemu" trixie qemu-system-x86=1:10.0.13+ds-0+deb13u1
debian "$WORK/trixie" trixie linux-image-amd64=6.12.118-1 btrfs-progs=6.14-1 \
    xfsprogs=6.13.0-2+deb13u1 e2fsprogs mount busybox-static dash kmod coreutils
debian "$WORK/sid" sid linux-image-amd64=7.2.13-1
cat >"$WORK/body" <<'END'
# After a rename of foo to A/new and fsync of these: the names that there are after a power cut.
left() {
    $1 /dev/nvme0n1 >/dev/null 2>&1
    mount -t "$2" /dev/nvme0n1 /mnt
    echo one >/mnt/foo && mkdir /mnt/A && sync
    mv /mnt/foo /mnt/A/new
    for synced in $3; do sync "/mnt/$synced"; done
    dd if=/dev/nvme0n1 of=/dev/nvme1n1 bs=1M iflag=direct oflag=direct 2>/dev/null
    umount /mnt
    dd if=/dev/nvme1n1 of=/dev/nvme0n1 bs=1M iflag=direct oflag=direct 2>/dev/null
    mount -t "$2" /dev/nvme0n1 /mnt
    names=$(cd /mnt && /usr/bin/busybox find . -type f | sort | tr '\n' ' ')
    echo "$names($(stat -c %h /mnt/A/new) links)"
    umount /mnt
}
for make in "mkfs.ext4 -q -F" "mkfs.xfs -q -f" "mkfs.btrfs -q -f"; do
    type=${make%% *} type=${type#mkfs.}
    said="fsync of A: $(left "$make" "$type" A); of both: $(left "$make" "$type" "A ."); of A/new: $(left "$make" "$type" A/new)"
    echo "$type: $said" >&3
done
left "mkfs.btrfs -q -f" btrfs A >/dev/null
echo "btrfs check of two names: $(btrfs check /dev/nvme0n1 2>&1 | /usr/bin/busybox grep -o 'no error found')" >&3
END
stated <<END
6.12
ext4: fsync of A: ./A/new (1 links); of both: ./A/new (1 links); of A/new: ./A/new (1 links)
xfs: fsync of A: ./A/new (1 links); of both: ./A/new (1 links); of A/new: ./A/new (1 links)
btrfs: fsync of A: ./A/new ./foo (2 links); of both: ./A/new (1 links); of A/new: ./A/new (1 links)
btrfs check of two names: no error found
7.2
ext4: fsync of A: ./A/new (1 links); of both: ./A/new (1 links); of A/new: ./A/new (1 links)
xfs: fsync of A: ./A/new (1 links); of both: ./A/new (1 links); of A/new: ./A/new (1 links)
btrfs: fsync of A: ./A/new ./foo (2 links); of both: ./A/new (1 links); of A/new: ./A/new (1 links)
btrfs check of two names: no error found
END
disk one 400M && devices=("${DISK[@]}" -device "nvme,serial=one" -device "nvme-ns,drive=one")
disk two 400M && devices+=("${DISK[@]}" -device "nvme,serial=two" -device "nvme-ns,drive=two")
{
    kernel=$(ls "$WORK"/trixie/boot/vmlinuz-*)
    pack "$WORK/trixie" "$WORK/body" nvme btrfs xfs ext4
    echo 6.12 && boot "$WORK/qemu" "$kernel" "${devices[@]}"
    rm -rf "$WORK/trixie/usr/lib/modules" && mv "$WORK/sid/usr/lib/modules" "$WORK/trixie/usr/lib/"
    pack "$WORK/trixie" "$WORK/body" nvme btrfs xfs ext4
    echo 7.2 && boot "$WORK/qemu" "$WORK"/trixie/usr/lib/modules/*/vmlinuz "${devices[@]}"
} | expect
