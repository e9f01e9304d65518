#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs QEMU and records how it ended: QEMU outlives the command that started it, so nobody
# else could collect its exit status.  Usage: supervise.sh QEMU ARGUMENT...
#
# If memory runs out the kernel should take the guest, not the user's session.
echo 800 >/proc/self/oom_score_adj
# stderr is for QEMU's words alone; what this shell says of its end ("Aborted") is in its status.
exec 3>&2 2>/dev/null
# blkdebug reports a suspended request with a bare printf(): a line must not sit in a buffer.
(exec stdbuf -oL -- "$@" 2>&3 3>&-)
echo $? >exit-status.new
mv exit-status.new exit-status
