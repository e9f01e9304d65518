"""A mount from the kernel's NFS server in the same guest; version 4 only, without systemd.

What is exported is bound below ROOT, which is the server's pseudo root: the guest's own root is
an overlay, which cannot be exported, so rpc.mountd could make none of it.
"""

import glob
import os
import subprocess

import system
from filesystems import FileSystem
from layer import Made, device_below
from targets import identity

ROOT = "/run/lab/exports"
NFSD = "/proc/fs/nfsd"
ETAB = "/var/lib/nfs/etab"
"""What is exported now, as exportfs keeps it: a line for each."""

SERVER = "127.0.0.1"
OPTIONS = "rw,no_root_squash,no_subtree_check"
THREADS = "4"


class Nfs(FileSystem):
    """A file system below, exported and mounted again."""

    @property
    def exported(self):
        """Where the file system below is bound."""
        return f"{ROOT}/{self.name}"

    def up(self):
        if not system.is_mounted(self.mount_point):
            # Under emulation the client's modules take two seconds to load, and nfsd waits for
            # one for a daemon that we do not have (fs/nfsd/nfs4recover.c): let both do so at
            # once.  If modprobe fails, mount says why.
            with subprocess.Popen(["modprobe", "-q", "nfsv4"]):
                self._export()
                serve()
            self._mount()
        return Made(mount=self.mount_point)

    def _export(self):
        below = device_below(self.spec["over"])
        if system.run(["stat", "--file-system", "--format=%T", below]).strip() == "nfs":
            # exportfs would ask the server about it, which would ask exportfs.
            raise system.Failure(f"export {below}", "it is an NFS mount of the same server")
        os.makedirs(self.exported, exist_ok=True)
        if not system.is_mounted(self.exported):
            system.run(["mount", "--bind", below, self.exported])
        export(ROOT, "fsid=0,crossmnt")
        export(self.exported, f"fsid={identity(self.name)}")

    def _mount(self):
        os.makedirs(self.mount_point, exist_ok=True)
        options = ",".join([f"vers={self.spec['version']}", *self.spec["options"]])
        source = f"{SERVER}:/{self.name}"
        system.run(["mount", "-t", "nfs", "-o", options, source, self.mount_point])

    def down(self):
        super().down()
        if self.exported in exports():
            unexport(self.exported)
        if system.is_mounted(self.exported):
            system.run(["umount", self.exported])
        system.remove_directory(self.exported)
        if not exports() - {ROOT}:
            stop()


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
    """Start the server and what answers its questions about exports, if they do not run."""
    system.modprobe("nfsd")
    if not system.is_mounted(NFSD):
        system.run(["mount", "-t", "nfsd", "nfsd", NFSD])
    if not mountd():
        # It does not register with rpcbind when there is only version 4.
        system.run(["rpc.mountd", "--no-nfs-version", "3"])
    if system.read(f"{NFSD}/threads") == "0":
        system.run(["rpc.nfsd", "--no-nfs-version", "3", THREADS])
        # Nobody has state from before that it could claim: all clients went with this guest.
        system.write(f"{NFSD}/v4_end_grace", "Y")


def stop():
    """Stop the server, and take away what `serve` made."""
    if ROOT in exports():
        unexport(ROOT)
    if system.is_mounted(NFSD):
        system.run(["rpc.nfsd", "0"])
        system.run(["umount", NFSD])
    for pid in mountd():
        system.run(["kill", pid])
    system.remove_directory(ROOT)


def mountd():
    """The process ids of rpc.mountd, as text."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            name = system.read(path)
        except OSError:  # ended meanwhile
            continue
        if name == "rpc.mountd":
            found.append(path.split("/")[2])
    return found
