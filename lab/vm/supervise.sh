#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs QEMU and records how it ended: QEMU outlives the command that started it, so nobody
# else could collect its exit status.  Usage: supervise.sh QEMU ARGUMENT...
#
# If memory runs out the kernel should take the guest, not the user's session.
echo 800 >/proc/self/oom_score_adj
# stderr is for QEMU's words alone; what this shell says of its end ("Aborted") is in its status.
exec 3>&2 2>/dev/null

# A guest may say as much as it likes; the disk holds so many blocks (512 bytes) of it: 256 MiB.
most=524288
bounded() {
    trap 'kill $!; wait $!; exit' TERM
    while kill -0 "$1"; do
        sleep 5 &
        wait $!
        for log in console.log layers.jsonl; do
            [ "$(stat -c %b "$log")" -gt "$most" ] || continue
            echo "lab: more than 256 MiB were said here; what came before is gone" >"$log"
        done
    done
}
bounded $$ >/dev/null 3>&- &
bounding=$!

killed() { sed -n 's/^oom_kill //p' /proc/vmstat; }
before=$(killed)
# blkdebug reports a suspended request with a bare printf(): a line must not sit in a buffer.
(exec stdbuf -oL -- "$@" 2>&3 3>&-)
status=$?
kill "$bounding"
# Whoever finds the status below finds no process any more.
wait "$bounding"
# How many processes the kernel had killed for want of memory before, and until now.
echo "$before $(killed)" >oom-kills
echo $status >exit-status.new
mv exit-status.new exit-status
