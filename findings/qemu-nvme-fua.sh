#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU's NVMe says that it has a volatile write cache, and ignores Force Unit Access.
#
# The guest (Linux 6.12.118) writes 16 times with FUA by passthrough.  QEMU 7.2.22, 10.0.13 and 11.1.3
# answer each with success and sync the file once, when the machine ends; with a Flush after each
# write they sync it 16 times.  Linux sees a write-back cache with FUA, so what a file system writes with REQ_FUA, such as
# the commit of a journal, is in the host's page cache and not on its disk when it is acknowledged.
. "$(dirname "$0")/lib"
command -v strace >/dev/null || cannot "strace is missing: apt-get install strace"

debian "$WORK/guest" trixie linux-image-amd64=6.12.118-1 nvme-cli=2.13-2 \
    busybox-static dash kmod coreutils
debian "$WORK/old" bookworm qemu-system-x86=1:7.2+dfsg-7+deb12u18+b3
debian "$WORK/stable" trixie qemu-system-x86=1:10.0.13+ds-0+deb13u1
debian "$WORK/new" sid qemu-system-x86=1:11.1.3+ds-1
cat >"$WORK/body" <<'END'
read -r cache <"/sys/block/nvme0n1/queue/write_cache"
read -r fua <"/sys/block/nvme0n1/queue/fua"
echo "$cache, fua $fua" >&3
head -c 4096 /dev/urandom >/tmp/data
for block in 0 8 16 24 32 40 48 56 64 72 80 88 96 104 112 120; do
    nvme write /dev/ng0n1 --start-block=$block --block-count=7 --data-size=4096 --data=/tmp/data \
        --force-unit-access >/dev/null 2>&1 || echo "write at $block fails" >&3
    [ -z "$flushed" ] || nvme flush /dev/ng0n1 >/dev/null
done
END
stated <<END
7.2, writes: write back, fua 1; syncs: 1
7.2, writes and flushes: write back, fua 1; syncs: 16
10.0, writes: write back, fua 1; syncs: 1
10.0, writes and flushes: write back, fua 1; syncs: 16
11.1, writes: write back, fua 1; syncs: 1
11.1, writes and flushes: write back, fua 1; syncs: 16
END
disk medium 16M
for flushed in "" yes; do
    { echo "flushed=$flushed" && cat "$WORK/body"; } >"$WORK/whole"
    pack "$WORK/guest" "$WORK/whole" nvme
    mv "$WORK/initrd" "$WORK/initrd.$flushed"
done
for qemu in old:7.2 stable:10.0 new:11.1; do
    for flushed in "" yes; do
        ln -sf "initrd.$flushed" "$WORK/initrd"
        said=$(TRACE=fdatasync,fsync boot "$WORK/${qemu%:*}" "$WORK"/guest/boot/vmlinuz-* \
            "${DISK[@]}" -device nvme,serial=one -device nvme-ns,drive=medium)
        echo "${qemu#*:}, writes${flushed:+ and flushes}: $said;" \
            "syncs: $(grep -c 'sync(.*/medium.raw>)' "$WORK/trace" || true)"
    done
done | expect
