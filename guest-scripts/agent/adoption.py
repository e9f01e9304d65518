# SPDX-License-Identifier: GPL-2.0-or-later
"""Becoming the guest that the host wants: its name, its identity, its disks, its layers.

What the host wants is in files below /run/lab; they are in the initrd of a guest that boots, and
come over the port to one that was restored from a checkpoint, which was nobody until then:

    hostname    its name
    disks       the disks of its profile, see arrival.py
    identity    a line each: machine id, NVMe host id, NVMe host NQN
    link        its address and its peer's, if it has one
    layers-up   exists where layers are made, or disks tried
    authorized_keys, ssh_host_ed25519_key    for sshd
"""

import base64
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import termios
import time
import tty

import arrival
import programs

LAB = programs.LAB
BUSYBOX = f"{LAB}/busybox"
READY = f"{LAB}/ready"
"""Made when all disks are there."""
LAYERS_PORT = "/dev/ttyS1"
BOOT_ID, OWN_BOOT_ID = "/proc/sys/kernel/random/boot_id", f"{LAB}/boot_id"
HOSTS, MACHINE_ID = "/etc/hosts", "/etc/machine-id"
HOST_ID, HOST_NQN = "/etc/nvme/hostid", "/etc/nvme/hostnqn"
LAYERS_UP = f"{LAB}/layers-up"
LINK_PATIENCE = 60
LIBC = ctypes.CDLL(None, use_errno=True)

_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207
"""include/uapi/linux/random.h."""
_MS_BIND = 4096

_ADJ_SETOFFSET, _ADJ_NANO = 0x0100, 0x2000
_TIMEX = struct.Struct("=I68xqq")
_TIMEX_SIZE = 208
"""include/uapi/linux/timex.h, struct __kernel_timex: `modes` and `time`; 0 is in the others."""


def wanted():
    """Whether the files say which guest this is."""
    return os.path.exists(f"{LAB}/hostname")


def over():
    """Whether the guest has come up before: an agent that ended begins once more."""
    return os.path.exists(READY)


def set_clock(by):
    """Set the clock by so many seconds, however long it took to be asked; what it says then."""
    if by:
        # The kernel adds it: whoever read the clock, added, and set it would lose what passed
        # meanwhile, under emulation 100 ms for what is done for the first time.
        seconds, part = divmod(round(by * 1e9), 1_000_000_000)
        change = _TIMEX.pack(_ADJ_SETOFFSET | _ADJ_NANO, seconds, part)
        if LIBC.adjtimex(ctypes.create_string_buffer(change, _TIMEX_SIZE)) < 0:
            raise OSError(ctypes.get_errno(), f"adjtimex by {by} s")
    return time.time()


def prepare():
    """Do once, before the checkpoint is taken, what need not be done in each guest: files that
    `identify` writes are there, and a boot id lies over the kernel's, which makes its one when it
    is first read; and all that runs here is in memory, so that no guest has to read it."""
    os.makedirs("/etc/nvme", exist_ok=True)
    for path in (HOSTS, MACHINE_ID, HOST_ID, HOST_NQN, OWN_BOOT_ID):
        _write(path, "\n")
    if LIBC.mount(OWN_BOOT_ID.encode(), BOOT_ID.encode(), None, _MS_BIND, None):
        raise OSError(ctypes.get_errno(), f"mount --bind {OWN_BOOT_ID} {BOOT_ID}")
    for path in _mapped():
        with contextlib.suppress(OSError), open(path, "rb") as file:
            while file.read(1 << 20):
                pass


def _mapped():
    """The files that processes have mapped: programs and libraries (proc_pid_maps(5))."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as file:
            rows = (line.split(maxsplit=5) for line in file)
            found |= {row[5].rstrip() for row in rows if row[5:] and row[5].startswith("/")}
    return found


def take(files, seed):
    """Put the files that describe the guest in place, content in base64 and permissions by path,
    and become that guest; `seed`, in base64, is what its random numbers are to begin from, since
    other guests began where this one does."""
    for path, (content, permissions) in files.items():
        where = f"/run/{path}"
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "wb") as file:
            os.fchmod(file.fileno(), permissions)
            file.write(base64.b64decode(content))
    _reseed(base64.b64decode(seed))
    with open("/proc/sys/kernel/random/uuid") as file:
        _write(OWN_BOOT_ID, file.read())
    identify()


def identify():
    """Take on the name and the identity of the guest."""
    name = _lines("hostname")[0]
    socket.sethostname(name)
    _write(HOSTS, f"127.0.0.1 localhost {name}\n")
    machine, host_id, host_nqn = _lines("identity")
    _write(MACHINE_ID, f"{machine}\n")
    os.makedirs("/etc/nvme", exist_ok=True)
    _write(HOST_ID, f"{host_id}\n")
    _write(HOST_NQN, f"{host_nqn}\n")


def come_up(tell, ports):
    """Wait for the disks, say so, and make the layers; in a process of its own.  Something was
    plugged into so many root ports."""
    arrival.rescan(ports)
    _link_up()
    if not arrival.wait():
        tell("lab: warning: udev has not handled every disk")
    if ports:
        _let_timers_fire()
    layers = os.path.exists(LAYERS_UP)
    if not layers:
        arrival.link()
    open(READY, "w").close()
    tell("lab: ready")
    if layers:
        _layers_up()


def _let_timers_fire():
    """Sleep on each CPU: one whose timer was lost while devices were plugged never wakes up, and
    the guest is never ready."""
    every = os.sched_getaffinity(0)
    for cpu in every:
        os.sched_setaffinity(0, {cpu})
        time.sleep(0.001)
    os.sched_setaffinity(0, every)


def _link_up():
    """Set up the network card on the link to the peer, if there is one."""
    for line in _lines("link"):
        address, peer = line.split()
        end = time.monotonic() + LINK_PATIENCE
        while not os.path.exists("/sys/class/net/eth1") and time.monotonic() < end:
            time.sleep(0.01)
        _busybox("ip", "address", "add", f"{address}/24", "dev", "eth1")
        _busybox("ip", "link", "set", "eth1", "up")
        with open(HOSTS, "a") as file:
            file.write(f"{peer} peer\n")


def _layers_up():
    """Become the program that makes the profile's layers, and tries what each disk and layer
    offers.  The host reads what is said of that from the second serial port."""
    null = os.open(os.devnull, os.O_RDONLY)
    port = _layers_port()
    programs.become(["layers", "up", "--json"], (null, port, port))


def tell_end(code):
    """Say that nothing more comes of layers, and if that what makes them was killed."""
    killed = f"layers up was killed by signal {-code}\n" if code < 0 else ""
    tell_of_layers(f"{killed}lab: layers up ended")


def tell_of_layers(text):
    """Say something to whoever reads what comes of layers, if that is read."""
    if os.path.exists(LAYERS_UP):
        port = _layers_port()
        os.write(port, f"{text}\n".encode())
        os.close(port)


def _layers_port():
    port = os.open(LAYERS_PORT, os.O_WRONLY | os.O_NOCTTY)
    tty.setraw(port, termios.TCSANOW)
    return port


def _reseed(seed):
    """Begin the kernel's random numbers anew; with vmgenid it has done so itself."""
    with open("/dev/urandom", "wb", buffering=0) as device:
        pool = struct.pack("ii", len(seed) * 8, len(seed)) + seed
        fcntl.ioctl(device, _RNDADDENTROPY, pool)
        fcntl.ioctl(device, _RNDRESEEDCRNG)


def _lines(name):
    try:
        with open(f"{LAB}/{name}") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def _busybox(*words):
    subprocess.run([BUSYBOX, *words], check=True)
