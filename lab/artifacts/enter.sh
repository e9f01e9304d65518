#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Unpacks an image and runs a command in it; started in mount and PID namespaces of its own (and as
# root of a user namespace, for an ordinary user), so that nothing stays behind, however it ends.
#
#   enter.sh IMAGE PLACE [DIRECTORY...] -- COMMAND...
#
# IMAGE is an erofs, PLACE an empty directory.  Each DIRECTORY is there under its own name; the
# command starts in the first.
set -eu

image=$1 place=$2
shift 2
say() {
    echo "lab: $*" >&2
    exit 3
}

mount -t tmpfs -o mode=755 tmpfs "$place" || say "cannot mount a tmpfs on $place"
fsck.erofs --extract="$place" --overwrite --preserve "$image" >/dev/null || say "cannot unpack $image"
mkdir -p "$place/proc" "$place/dev" "$place/sys" "$place/tmp" "$place/run"
chmod 1777 "$place/tmp"
mount -t proc proc "$place/proc" || say "cannot mount /proc in the image"
mount --rbind /dev "$place/dev" || say "cannot mount /dev in the image"
rm -f "$place/etc/resolv.conf"
cp -L /etc/resolv.conf "$place/etc/resolv.conf" 2>/dev/null || true

start=/root
while [ "$1" != -- ]; do
    mkdir -p "$place$1"
    mount --rbind "$1" "$place$1" || say "cannot mount $1 in the image"
    [ "$start" != /root ] || start=$1
    shift
done
shift

exec chroot "$place" env -i --chdir="$start" HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
