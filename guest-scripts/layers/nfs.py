# SPDX-License-Identifier: GPL-2.0-or-later
"""A mount from the kernel's NFS server in the same guest."""

import os
import subprocess

import properties
import system
from filesystems import FileSystem
from layer import Made, device_below
from nfs_server import ROOT, SERVER, export, exports, serve, stop, unexport
from probe_files import options as mount_options
from targets import identity


class Nfs(FileSystem):
    """A file system below, exported and mounted again."""

    @property
    def exported(self):
        """Where the file system below is bound."""
        return f"{ROOT}/{self.name}"

    def up(self):
        if not system.is_mounted(self.mount_point):
            # Under emulation the client's modules take two seconds to load: let the server start
            # meanwhile.  If modprobe fails, mount says why.
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

    def asked(self, made):
        told = [word for word in mount_options(made.mount).split(",") if word.startswith("vers=")]
        version = told[0].removeprefix("vers=") if told else None
        yield properties.Asked("version", self.spec["version"], version, system.MOUNTS)

    def down(self):
        super().down()
        if self.exported in exports():
            unexport(self.exported)
        if system.is_mounted(self.exported):
            if not _unmounted(self.exported):
                # After an error the server keeps open what it has open there.
                system.run(["rpc.nfsd", "0"])
            system.wait_for(lambda: _unmounted(self.exported), f"umount {self.exported}")
            serve()
        system.remove_directory(self.exported)
        if not exports() - {ROOT}:
            stop()


def _unmounted(path):
    return not system.is_mounted(path) or system.works(["umount", path])
