# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting programs.  The lab's own, in Python, are forked from this one, which has loaded what
they need: under emulation starting Python takes half a second, and a fork some milliseconds.
"""

import contextlib
import importlib
import os
import shutil
import signal
import sys
import traceback
import types

LAB = "/run/lab"
PATH = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{LAB}/bin"
HOME = "/root"
ENVIRONMENT = {
    "PATH": PATH,
    "HOME": HOME,
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
}
"""What sshd gives a command, for those that go without it."""

PYTHON = ["/usr/bin/python3", "-IS"]
NAMED = {"layers": [f"{LAB}/layers"], "nvme-copy": [f"{LAB}/copies", "nvme-copy"]}
"""Programs that are a line of shell around Python."""

PACKAGES = ("layers", "copies")
"""Those whose modules are loaded beforehand."""

_compiled = {}
"""Programs by their source's path: compiling one takes longer than many take to run."""

DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these, and what is executed would go on to."""


def own(argv):
    """The path and the arguments of a program of the lab's that is Python; None for any other."""
    if argv[:2] == PYTHON and argv[2:] and argv[2].startswith(f"{LAB}/"):
        return argv[2], argv[3:]
    if argv[0] in NAMED:
        path, *words = NAMED[argv[0]]
        return path, [*words, *argv[1:]]
    path = argv[0] if argv[0].startswith(f"{LAB}/bin/") else f"{LAB}/bin/{argv[0]}"
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.readline().split() == [b"#!/usr/bin/python3", b"-IS"]:
            return path, argv[1:]
    return None


def preload():
    """Load the modules of the lab's programs, and what these need; of names that are there twice,
    neither.  Compile the programs."""
    names = [
        name.removesuffix(".py")
        for package in PACKAGES
        for name in os.listdir(f"{LAB}/{package}")
        if name.endswith(".py") and name != "__main__.py"
    ]
    sys.path += [f"{LAB}/{package}" for package in PACKAGES]
    for name in names:
        # One that cannot be loaded tells so to whoever runs it.
        with contextlib.suppress(Exception):
            if names.count(name) == 1:
                importlib.import_module(name)
    del sys.path[-len(PACKAGES) :]
    for name in ("argparse", "base64", "ctypes", "glob", "random", "select", "subprocess", "zlib"):
        importlib.import_module(name)
    sources = [f"{LAB}/{package}/__main__.py" for package in PACKAGES]
    for name in os.listdir(f"{LAB}/bin"):
        if program := own([name]):
            sources.append(program[0])
    for source in sources:
        with contextlib.suppress(Exception):
            _compiled[source] = _compile(source)


def start(argv, stdin, stdout, stderr):
    """Start a program as the leader of a session of its own, with these descriptors; its pid.

    Raises OSError if it cannot be started.
    """
    if own(argv):
        pid = os.fork()
        if not pid:
            become(argv, (stdin, stdout, stderr))
    else:
        actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate((stdin, stdout, stderr))]
        path = shutil.which(argv[0], path=PATH)
        if path is None:
            raise FileNotFoundError(2, "command not found")
        pid = os.posix_spawn(
            path, argv, ENVIRONMENT, file_actions=actions, setsid=True,
            setsigmask=(), setsigdef=DEFAULT_SIGNALS,
        )  # fmt: skip
        mortal(pid)
    return pid


def mortal(pid):
    """Let a process be killed when memory runs out, which spares the agent."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write("0")


def call(name):
    """Have tools that list processes call this one so; the kernel keeps 15 bytes of it."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(name)


def become(argv, descriptors):
    """In a child: become a program of the lab's, with these descriptors; never returns."""
    try:
        path, words = own(argv)
        os.setsid()
        for to, fd in enumerate(descriptors):
            os.dup2(fd, to)
        os.closerange(3, 1 << 16)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        # Here: the program may want it otherwise.
        mortal("self")
        call(os.path.basename(argv[2] if argv[:2] == PYTHON else argv[0]))
        os.chdir(HOME)
        os.environ.clear()
        os.environ.update(ENVIRONMENT)
        os._exit(run(path, words))
    except OSError as problem:
        os.write(2, f"{argv[0]}: {problem.strerror}\n".encode())
    finally:
        os._exit(127)


def run(path, words):
    """Run a program of the lab's in this process, as Python itself would; its exit status."""
    sys.argv = [path, *words]
    # Those of the agent are of its own descriptors, and buffered for these.
    sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, range(3), "rww")
    if "random" in sys.modules:
        # Loaded beforehand, it would go on as in every guest of that checkpoint.
        sys.modules["random"].seed()
    status = 0
    try:
        _execute(path)
    except SystemExit as end:
        status = end.code
        if status is not None and not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return (status or 0) & 0xFF


def _execute(path):
    """Execute a file, or the `__main__.py` of a directory, as the main module."""
    source = os.path.join(path, "__main__.py") if os.path.isdir(path) else path
    sys.path.insert(0, os.path.dirname(source))
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__ = source
    exec(_compiled.get(source) or _compile(source), main.__dict__)


def _compile(source):
    with open(source, "rb") as file:
        return compile(file.read(), source, "exec")
