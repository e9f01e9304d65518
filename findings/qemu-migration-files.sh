#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU 7.2.22, 10.0.13 and 11.1.3: no way to migrate to a file works in all, and with the memory left
# out, any memory passes for the right one.
#
# A machine that never ran is migrated to a regular file, and back.  `fd:` (getfd, or an inherited
# number) works in 7.2 and 10.0; 11.1 refuses it in words, both ways, and wants `file:`, which 7.2
# does not know.  Of two machines with memory files of their own and x-ignore-shared set, the state
# of one is then loaded over the memory of the other: all three say `completed`, without a warning,
# and so it is where the memory file is full of holes.  Whoever keeps a state and a memory apart has
# to bind them to each other himself.
. "$(dirname "$0")/lib"

cat >"$WORK/driver.py" <<'END'
import json, os, socket, subprocess, sys, time

work, *qemu = sys.argv[1:]


class Machine:
    def __init__(self, memory, share, *more):
        self.end, other = socket.socketpair()
        backend = f"memory-backend-file,id=m,size=64M,mem-path={memory},share={share}"
        self.process = subprocess.Popen(
            [*qemu, "-nodefaults", "-no-user-config", "-display", "none", "-S", "-m", "64M",
             "-object", backend, "-machine", "q35,accel=tcg,memory-backend=m", *more,
             "-chardev", f"socket,id=q,fd={other.fileno()}", "-mon", "chardev=q,mode=control"],
            pass_fds=[other.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        other.close()
        self.lines = self.end.makefile()
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command, fd=None, **arguments):
        data = json.dumps({"execute": command, "arguments": arguments}).encode()
        socket.send_fds(self.end, [data], [] if fd is None else [fd])
        while "event" in (answer := json.loads(self.lines.readline())):
            pass
        return answer

    def ignore_shared(self):
        wanted = {"capability": "x-ignore-shared", "state": True}
        self.do("migrate-set-capabilities", capabilities=[wanted])

    def move(self, command, fd, way):
        """How a migration to or from an open file ends, in QEMU's words."""
        uri = "fd:f"
        if way == "fd":
            self.do("getfd", fd, fdname="f")
        else:
            uri = f"file:/dev/fdset/{self.do('add-fd', fd)['return']['fdset-id']}"
        answer = self.do(command, uri=uri)
        if "error" in answer:
            return answer["error"]["desc"].replace(uri, "URI")
        while (found := self.do("query-migrate")["return"].get("status")) in (
            None, "setup", "active", "device", "wait-unplug"):
            time.sleep(0.02)
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()


def saved(name, way):
    machine = Machine(f"{work}/{name}", "on")
    machine.ignore_shared()
    with open(f"{work}/{name}.state", "wb") as file:
        said = machine.move("migrate", file.fileno(), way)
    machine.kill()
    return said


def loaded(state, memory, way):
    machine = Machine(f"{work}/{memory}", "off", "-incoming", "defer")
    machine.ignore_shared()
    with open(f"{work}/{state}.state", "rb") as file:
        said = machine.move("migrate-incoming", file.fileno(), way)
    machine.kill()
    return said


works = ""
for way in "file", "fd":
    said = saved("one", way)
    print(f"to {way}: {said}")
    works = way if said == "completed" else works
saved("one", works)
with open(f"{work}/one", "r+b") as file:
    file.write(b"one")
for way in "file", "fd":
    print(f"from {way}: {loaded('one', 'one', way)}")
saved("two", works)
print(f"over the memory of another: {loaded('one', 'two', works)}")
with open(f"{work}/holes", "wb") as file:
    os.truncate(file.fileno(), 64 << 20)
print(f"over holes: {loaded('one', 'holes', works)}")
END

try() {
    local dir=$WORK/$1
    debian "$dir" "$2" "qemu-system-x86=$3"
    of "$dir" qemu-system-x86_64
    echo "$1"
    mkdir "$WORK/files-$1"
    python3 "$WORK/driver.py" "$WORK/files-$1" "${RUN[@]}" -L "$dir/usr/share/qemu" -L "$dir/usr/share/seabios"
}

stated <<END
7.2
to file: Parameter 'uri' expects a valid migration protocol
to fd: completed
from file: unknown migration protocol: URI
from fd: completed
over the memory of another: completed
over holes: completed
10.0
to file: completed
to fd: completed
from file: completed
from fd: completed
over the memory of another: completed
over holes: completed
11.1
to file: completed
to fd: fd: migration to a file is not supported. Use file: instead.
from file: completed
from fd: fd: migration to a file is not supported. Use file: instead.
over the memory of another: completed
over holes: completed
END
{
    try 7.2 bookworm 1:7.2+dfsg-7+deb12u18+b3
    try 10.0 trixie 1:10.0.13+ds-0+deb13u1
    try 11.1 sid 1:11.1.3+ds-1
} | expect
