#!/bin/sh
# Runs QEMU and records how it ended: QEMU outlives the command that started it, so nobody
# else could collect its exit status.  Usage: supervise.sh QEMU ARGUMENT...
#
# If memory runs out the kernel should take the guest, not the user's session.
echo 800 >/proc/self/oom_score_adj
# blkdebug reports a suspended request with a bare printf(): a line must not sit in a buffer.
stdbuf -oL -- "$@"
echo $? >exit-status.new
mv exit-status.new exit-status
