#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# b4 0.16.0: `b4 am` of a thread that lacks a patch writes the rest, and succeeds.
#
# Of a series of three, patch 2 never arrived.  `b4 am` says so ("ERROR: missing [2/3]!", "Thread
# incomplete!") on stderr, writes a mailbox of patches 1 and 3 under the name that a whole series
# would have, and exits with 0; where 3 does not touch what 2 changed, `git am` applies it without
# a word.  Who builds kernels from message-ids has to count the patches himself.
. "$(dirname "$0")/lib"

python3 -m venv "$WORK/venv"
"$WORK/venv/bin/pip" install --quiet --disable-pip-version-check b4==0.16.0 2>"$WORK/pip.log" ||
    cannot "pip installs no b4 0.16.0: $(tail -n 1 "$WORK/pip.log")"

export HOME=$WORK GIT_CONFIG_NOSYSTEM=1 EMAIL=somebody@example.org
git init --quiet "$WORK/tree"
cd "$WORK/tree"
git config user.name Somebody
seq 30 >numbers && git add numbers && git commit --quiet --message Base
for line in 5 15 25; do
    sed -i "${line}s/\$/ changed/" numbers && git commit --quiet --all --message "Change line $line"
done
git format-patch --quiet --thread --subject-prefix=PATCH -3 --output-directory "$WORK/mails"
id=$(sed -n 's/^Message-I[Dd]: <\(.*\)>/\1/p' "$WORK"/mails/0001*)
rm "$WORK"/mails/0002*
cat "$WORK"/mails/* >"$WORK/thread.mbox"
git reset --quiet --hard HEAD~3

stated <<END
b4: exit status 0
ERROR: missing [2/3]!
WARNING: Thread incomplete!
git am: exit status 0, lines changed: 5 25
END
{
    status=0
    "$WORK/venv/bin/b4" --offline-mode am --outdir "$WORK/out" --use-local-mbox "$WORK/thread.mbox" "$id" \
        >"$WORK/b4.log" 2>&1 || status=$?
    echo "b4: exit status $status"
    grep -o 'ERROR: missing .*\|WARNING: Thread .*' "$WORK/b4.log"
    status=0
    git am --quiet "$WORK"/out/*.mbx || status=$?
    echo "git am: exit status $status, lines changed: $(grep -n changed numbers | cut -d : -f 1 | xargs)"
} | expect
