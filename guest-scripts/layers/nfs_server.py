# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's NFS server in this guest, version 4 only, with the daemons it asks; no systemd.

What is exported is bound below ROOT, which is the server's pseudo root: the guest's own root is
an overlay, which cannot be exported, so rpc.mountd could make none of it.
"""

import glob

import system

ROOT = "/run/lab/exports"
NFSD = "/proc/fs/nfsd"
ETAB = "/var/lib/nfs/etab"
"""What is exported now, as exportfs keeps it: a line for each."""

PIPES = "/run/rpc_pipefs"
"""Where /etc/nfs.conf of Debian has the file system of the pipes by which the server asks."""

SERVER = "127.0.0.1"
OPTIONS = "rw,no_root_squash,no_subtree_check"
THREADS = "4"


def export(path, identification):
    """Export a directory to this guest itself.  Raises Failure."""
    system.run(["exportfs", "-o", f"{OPTIONS},{identification}", f"{SERVER}:{path}"])


def unexport(path):
    """Stop exporting a directory, and let the server close what it has open there."""
    system.run(["exportfs", "-u", f"{SERVER}:{path}"])


def exports():
    """The directories that are exported, by whomever."""
    try:
        return {line.split()[0] for line in system.read(ETAB).splitlines()}
    except FileNotFoundError:  # before the first export
        return set()


def serve():
    """Start the server and what answers its questions, if they do not run.  Raises Failure."""
    system.modprobe("nfsd")
    if not system.is_mounted(NFSD):
        system.run(["mount", "-t", "nfsd", "nfsd", NFSD])
    _remember_clients()
    if not _running("rpc.mountd"):
        # It does not register with rpcbind when there is only version 4.
        system.run(["rpc.mountd", "--no-nfs-version", "3"])
    if system.read(f"{NFSD}/threads") == "0":
        system.run(["rpc.nfsd", "--no-nfs-version", "3", THREADS])
        # Nobody has state from before that it could claim: all clients went with this guest.
        end_grace()


def _remember_clients():
    """Start nfsdcld, which keeps the names of the clients over a restart of the server.

    The server looks for it for a second when it starts; without it a kernel without
    NFSD_LEGACY_CLIENT_TRACKING knows no client, and no grace period of its can be ended
    (fs/nfsd/nfs4recover.c, nfsd4_client_tracking_init).
    """
    if not system.is_mounted(PIPES):
        system.make_directory(PIPES)
        system.run(["mount", "-t", "rpc_pipefs", "rpc_pipefs", PIPES])
    if not _running("nfsdcld"):
        system.run(["nfsdcld"])


def end_grace(state=f"{NFSD}/v4_end_grace"):
    """End the time in which only clients from before may open and lock files.  Raises Failure.

    There may be none: a server whose nfsdcld remembers nobody skips it, and refuses to end what
    has ended.
    """

    def ended():
        return system.read(state) == "Y"

    if ended():
        return
    try:
        system.write(state, "Y")
    except system.Failure:
        if not ended():
            raise
    system.wait_for(ended, f"the end of the grace period in {state}")


def stop():
    """Stop the server, and take away what `serve` made."""
    if ROOT in exports():
        unexport(ROOT)
    if system.is_mounted(NFSD):
        system.run(["rpc.nfsd", "0"])
        system.run(["umount", NFSD])
    for daemon in ("rpc.mountd", "nfsdcld"):
        _end(daemon)
    if system.is_mounted(PIPES):
        system.run(["umount", PIPES])
    system.remove_directory(ROOT)


def _end(daemon):
    """End a daemon and wait until it is gone, with what it has open.  Raises Failure."""
    for pid in _running(daemon):
        system.run(["kill", pid])
    system.wait_for(lambda: not _running(daemon), f"the end of {daemon}")


def _running(daemon):
    """The process ids of a daemon, as text."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            name = system.read(path)
        except OSError:  # ended meanwhile
            continue
        if name == daemon:
            found.append(path.split("/")[2])
    return found
