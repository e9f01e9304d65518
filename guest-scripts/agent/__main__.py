# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent: answers the host on the virtio-serial port, and starts programs for it.

pid 1 starts it early in each boot.  Where the initrd says which guest this is, it becomes that one.
Where it does not, this is a guest that is to be checkpointed: the agent loads what will be needed,
and waits to be told who it is in each guest that is restored.

What it says itself goes to the console: LISTENS when the port is open, ANONYMOUS when a checkpoint
may be taken.
"""

import fcntl
import gc
import json
import os
import select
import signal
import time
from functools import partial

import adoption
import programs
import wire
from channel import Channel
from door import Door

PORTS, NAME = "/sys/class/virtio-ports", "lab"
PATIENCE = 20
"""Seconds until the port must be there, in a guest in which a look for it takes no time."""
LOOK = 0.02
"""Seconds between two."""
LISTENS = "lab: the agent listens"
SILENT = "lab: the agent has no port"
ANONYMOUS = "lab: checkpoint"
PRINTK, WARNINGS = "/proc/sys/kernel/printk", 5
"""Messages of levels below that go to the console (Documentation/core-api/printk-basics.rst)."""
GRACE = 2.0
"""Seconds without anybody after which whoever was connected has gone.  Data, and the news of who
has the port open, come through two queues of the device: a busy guest may hear that the one before
has gone when the next one has long been answered (drivers/char/virtio_console.c, in_intr() and
control_work_handler(); seen in one of 200 connections)."""
ENOUGH = 1 << 18
"""Bytes on their way to the host beyond which no program is heard."""


def main():
    """Serve until the end of the guest."""
    with open("/proc/self/oom_score_adj", "w") as file:
        # The last to go when memory runs out: without it the host learns nothing any more.
        file.write("-1000")
    let_warnings_print()
    os.chdir("/root")
    agent = Agent(open_port(), Door())
    if adoption.over():
        agent.out += wire.ANEW
    elif adoption.wanted():
        tell(SILENT if agent.port is None else LISTENS)
        adoption.identify()
        agent.watch(bring_up(), adoption.tell_end)
    else:
        programs.preload()
        adoption.prepare()
        gc.freeze()
        agent.await_adoption()
        tell(ANONYMOUS)
    while True:
        agent.turn()


def let_warnings_print():
    """Have the console show warnings too, which the boot goes without: the traces of a kernel that
    hangs are of that level, and there is nothing else that shows where."""
    with open(PRINTK) as file:
        shown = int(file.read().split()[0])
    if shown < WARNINGS:
        # Of the four numbers the first; one that is not written from the start is not taken.
        with open(PRINTK, "w") as file:
            file.write(str(WARNINGS))


def open_port():
    """The port of the name NAME; None if the kernel has none."""
    for _ in range(round(PATIENCE / LOOK)):
        for device in os.listdir(PORTS) if os.path.isdir(PORTS) else ():
            with open(f"{PORTS}/{device}/name") as file:
                if file.read().strip() == NAME:
                    return os.open(f"/dev/{device}", os.O_RDWR | os.O_NONBLOCK)
        if not os.path.isdir("/sys/bus/virtio/drivers"):
            return None
        time.sleep(LOOK)
    return None


def tell(text):
    """Say something on the console."""
    with open("/dev/console", "w") as console:
        console.write(f"{text}\n")


def bring_up(told=None):
    """Have the disks waited for and the layers made, in a process of its own; its pid.

    It waits for the number of root ports into which something was plugged, if `told` is a pipe:
    then it was forked before the checkpoint was taken, and no guest has to.
    """
    if pid := os.fork():
        programs.mortal(pid)
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        adoption.come_up(tell, 0 if told is None else int(os.read(told, 16)))
    except Exception as problem:
        said = f"lab: error: {type(problem).__name__}: {problem}"
        tell(said)
        adoption.tell_of_layers(said)
    finally:
        os._exit(0)


class Agent:
    """The port, None where there is none, the door, and a channel for each program started.

    `channels` are those of whoever is connected, by number; `former` those that others left, until
    their programs have ended; `tasks` are processes of the agent's own, by pidfd, and what is done
    at their end; `waits` is the pipe to the process that waits for the guest to be adopted;
    `alone`: since when nobody is connected, None while somebody is.
    """

    def __init__(self, port, door):
        self.port = port
        self.door = door
        self.reader = wire.Reader()
        self.out = bytearray()
        self.channels = {}
        self.former = []
        self.tasks = {}
        self.waits = -1
        self.alone = -GRACE
        # A port that somebody connects to raises SIGIO (drivers/char/virtio_console.c).
        self.woken, waker = os.pipe()
        for fd in (self.woken, waker):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGIO, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        if port is not None:
            fcntl.fcntl(port, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(port, fcntl.F_SETFL, fcntl.fcntl(port, fcntl.F_GETFL) | os.O_ASYNC)

    def watch(self, pid, then=None):
        """Take note of a process of the agent's own, if it is one, to collect it at its end."""
        if pid is not None:
            self.tasks[os.pidfd_open(pid)] = pid, then

    def await_adoption(self):
        """Have a process wait that brings up what the guest will be."""
        told, self.waits = os.pipe()
        self.watch(bring_up(told), adoption.tell_end)
        os.close(told)

    def turn(self):
        """Wait until something happens, and act on it."""
        there = self._somebody()
        patience = self._patience(there)
        sources = self._sources()
        poll = select.poll()
        poll.register(self.woken, select.POLLIN)
        poll.register(self.door, select.POLLIN)
        if there:
            poll.register(self.port, select.POLLIN | (select.POLLOUT if self.out else 0))
        for fd, (event, _) in sources.items():
            poll.register(fd, event)
        for fd, _ in poll.poll(patience):
            if fd == self.woken:
                os.read(self.woken, 4096)
            elif fd == self.port:
                self._hear()
            elif fd == self.door.fileno():
                self.watch(self.door.answer())
            else:
                sources[fd][1]()
        self._forget()
        if there:
            self._flush()

    def _sources(self):
        """The descriptors of programs that are waited for: for what, and what is done then."""
        found = {fd: (select.POLLIN, partial(self._collect, fd)) for fd in self.tasks}
        for channel in (*self.channels.values(), *self.former):
            if len(self.out) < ENOUGH:
                for fd in channel.reading():
                    found[fd] = (select.POLLIN, partial(channel.read, fd))
            if channel.pending and channel.stdin >= 0:
                found[channel.stdin] = (select.POLLOUT, channel.flush)
            if channel.pidfd >= 0:
                found[channel.pidfd] = (select.POLLIN, channel.reap)
        return found

    def _collect(self, fd):
        pid, then = self.tasks.pop(fd)
        _, status = os.waitpid(pid, 0)
        os.close(fd)
        if then:
            then(os.waitstatus_to_exitcode(status))

    def _somebody(self):
        """Whether somebody is connected."""
        if self.port is None:
            return False
        poll = select.poll()
        poll.register(self.port, 0)
        return not poll.poll(0)

    def _patience(self, there):
        """Milliseconds until whoever was connected has gone, if nobody comes; None: there is
        nothing to wait for."""
        now = time.monotonic()
        if there:
            self.alone = None
            return None
        if self.alone is None:
            self.alone = now
        if now < self.alone + GRACE:
            return (self.alone + GRACE - now) * 1000
        self.reader.lose()
        self._leave()
        return None

    def _leave(self):
        """Who was connected is no more: what was started for them finds its pipes closed."""
        self.out.clear()
        for channel in self.channels.values():
            channel.send = lambda *_: None
            channel.close()
        self.former += self.channels.values()
        self.channels = {}

    def _forget(self):
        """Let go of what has ended."""
        self.channels = {at: one for at, one in self.channels.items() if not one.over}
        self.former = [one for one in self.former if not one.over]

    def _hear(self):
        try:
            data = os.read(self.port, wire.PIECE)
        except BlockingIOError:
            return
        for number, kind, payload in self.reader.feed(data):
            if number is None:
                # Whoever was there before has gone unnoticed.
                self._leave()
                self.out += wire.HERE + payload + b"\n"
            else:
                self._take(number, kind, payload)

    def _take(self, number, kind, payload):
        send = partial(self._send, number)
        channel = self.channels.get(number)
        if kind in (wire.OPEN, wire.ASK):
            try:
                request = json.loads(payload)
            except ValueError:
                # Cut short, and completed by what somebody else says, who will greet once more.
                self._leave()
                return
            if kind == wire.OPEN:
                self.channels[number] = Channel(send, request)
            else:
                self._answer(send, request)
        elif channel is None:
            return  # it has ended meanwhile
        elif kind == wire.DATA:
            channel.write(payload)
        elif kind == wire.EOF:
            channel.end_input()
        elif kind == wire.CREDIT:
            channel.credit += int.from_bytes(payload, "big")
        elif kind == wire.CLOSE:
            channel.close()

    def _answer(self, send, request):
        """A request to the agent itself."""
        try:
            answer = getattr(self, f"do_{request.pop('do')}")(**request)
            send(wire.ANSWER, json.dumps(answer).encode())
        except Exception as problem:  # whatever a request provokes is its answer; we live on
            send(wire.REFUSED, json.dumps(f"{type(problem).__name__}: {problem}").encode())

    def do_clock(self, by=0.0):
        """Set the clock by so many seconds; what it says."""
        return adoption.set_clock(by)

    def do_adopt(self, files, seed, ports):
        """Become a guest."""
        adoption.take(files, seed)
        os.write(self.waits, str(ports).encode())

    def _send(self, number, kind, payload):
        self.out += wire.frame(number, kind, payload)

    def _flush(self):
        while self.out:
            try:
                del self.out[: os.write(self.port, self.out[: wire.PIECE])]
            except OSError:  # full, or nobody is there any more
                return


if __name__ == "__main__":
    main()
