# SPDX-License-Identifier: GPL-2.0-or-later
"""A copy in a process of its own, which somebody may kill.

Its pid stands in PID while it runs.  A copy that was killed has told its caller nothing: the answer
is {"killed": SIGNAL, "seconds": T}.
"""

import json
import os
import time

PID = "/run/lab/copier.pid"


def _tell(writer, work):
    try:
        said = json.dumps(work())
    except Exception as problem:  # whatever goes wrong is for the parent to tell
        said = json.dumps({"error": f"{type(problem).__name__}: {problem}"})
    with os.fdopen(writer, "wb") as answers:
        answers.write(said.encode())


def run(work):
    """The answer that `work` gives in a child process."""
    start = time.monotonic()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _tell(writer, work)
        finally:
            os._exit(0)  # whatever happens: what comes next is the parent's to do
    os.close(writer)
    with open(PID, "w") as file:
        file.write(str(pid))
    with os.fdopen(reader, "rb") as answers:
        said = answers.read()
    _, status = os.waitpid(pid, 0)
    os.unlink(PID)
    if os.WIFSIGNALED(status):
        return {"killed": os.WTERMSIG(status), "seconds": time.monotonic() - start}
    return json.loads(said)
