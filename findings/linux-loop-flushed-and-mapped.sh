#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux: after a clone below a loop device BLKFLSBUF brings its new data to nobody, if one reader maps.
#
# A loop device has a file on XFS below it. FICLONERANGE within that file puts other data below a part
# of the loop device, whose page cache then has what was there before; BLKFLSBUF is what a program
# has to empty that. It succeeds on Linux 6.12.118 and on 7.2.13, and whoever read with pread() before
# reads the new data after it.  If any process has mapped these sectors and read them once, it succeeds
# as well, and the old data stay: in that memory, and for everybody who uses read(), while O_DIRECT reads
# the new.  POSIX_FADV_DONTNEED changes nothing, nor does it help that the memory is unmapped; only
# the next BLKFLSBUF, after that, does.  Who models a device by clones below a loop device must not
# let anybody map it.
. "$(dirname "$0")/lib"

debian "$WORK/qemu" trixie qemu-system-x86=1:10.0.13+ds-0+deb13u1
debian "$WORK/trixie" trixie linux-image-amd64=6.12.118-1 \
    util-linux=2.41.5-0+deb13u1 mount=2.41.5-0+deb13u1 xfsprogs=6.13.0-2+deb13u1 python3=3.13.5-1 \
    busybox-static dash kmod coreutils
debian "$WORK/sid" sid linux-image-amd64=7.2.13-1
cat >"$WORK/program" <<'END'
import fcntl, mmap, os, struct, sys

BLKFLSBUF, FICLONERANGE = 0x1261, 0x4020940D  # include/uapi/linux/fs.h
SIZE, SOURCE, TARGET = 64 << 10, 1 << 20, 4 << 20
file, loop = os.open("/mnt/file", os.O_RDWR), os.open("/dev/loop0", os.O_RDWR)
direct = os.open("/dev/loop0", os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, SIZE)


def fill(letter):
    os.pwrite(loop, letter * SIZE, TARGET)
    os.fsync(loop)
    os.pread(loop, SIZE, TARGET)


def clone():
    fcntl.ioctl(file, FICLONERANGE, struct.pack("qQQQ", file, SOURCE, SIZE, TARGET))
    fcntl.ioctl(loop, BLKFLSBUF)


def seen():
    os.preadv(direct, [buffer], TARGET)
    return f"read {os.pread(loop, 1, TARGET).decode()}, O_DIRECT {buffer[:1].decode()}"


os.pwrite(loop, b"S" * SIZE, SOURCE)
os.fsync(loop)
fill(b"1")
clone()
print("nobody has it mapped:", seen())
fill(b"2")
memory = mmap.mmap(loop, SIZE, prot=mmap.PROT_READ, offset=TARGET)
memory[:]
clone()
print(f"mapped: {seen()}, memory {memory[:1].decode()}")
os.posix_fadvise(loop, TARGET, SIZE, os.POSIX_FADV_DONTNEED)
print("after POSIX_FADV_DONTNEED:", seen())
memory.close()
print("unmapped:", seen())
fcntl.ioctl(loop, BLKFLSBUF)
print("and flushed:", seen())
END
cat >"$WORK/body" <<'END'
mkfs.xfs -q -f /dev/nvme0n1 && mount /dev/nvme0n1 /mnt
dd if=/dev/zero of=/mnt/file bs=1M count=8 2>/dev/null
losetup /dev/loop0 /mnt/file
python3 -B /program >&3 2>&1
END
stated <<END
6.12
nobody has it mapped: read S, O_DIRECT S
mapped: read 2, O_DIRECT S, memory 2
after POSIX_FADV_DONTNEED: read 2, O_DIRECT S
unmapped: read 2, O_DIRECT S
and flushed: read S, O_DIRECT S
7.2
nobody has it mapped: read S, O_DIRECT S
mapped: read 2, O_DIRECT S, memory 2
after POSIX_FADV_DONTNEED: read 2, O_DIRECT S
unmapped: read 2, O_DIRECT S
and flushed: read S, O_DIRECT S
END
disk medium 400M
device=("${DISK[@]}" -device "nvme,serial=one" -device "nvme-ns,drive=medium")
{
    kernel=$(ls "$WORK"/trixie/boot/vmlinuz-*)
    cp "$WORK/program" "$WORK/trixie/"
    pack "$WORK/trixie" "$WORK/body" nvme xfs loop
    echo 6.12 && boot "$WORK/qemu" "$kernel" "${device[@]}"
    rm -rf "$WORK/trixie/usr/lib/modules" && mv "$WORK/sid/usr/lib/modules" "$WORK/trixie/usr/lib/"
    pack "$WORK/trixie" "$WORK/body" nvme xfs loop
    echo 7.2 && boot "$WORK/qemu" "$WORK"/trixie/usr/lib/modules/*/vmlinuz "${device[@]}"
} | expect
