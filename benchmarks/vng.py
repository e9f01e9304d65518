# SPDX-License-Identifier: GPL-2.0-or-later
"""virtme-ng, the peer: in a virtual environment of its own, on the very kernel the lab boots."""

import os
import shlex
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts import debian
from lab.artifacts.kernel import Kernel
from lab.artifacts.kernels.names import SHIPPED
from lab.errors import HostError
from lab.host import dirs
from lab.host.command import missing, run

REQUIREMENT = "virtme-ng==1.42"
UDEVD = (Path("/usr/lib/systemd/systemd-udevd"), Path("/lib/systemd/systemd-udevd"))
"""Without it vng's guest finds no port for the output of a command."""
DEADLINE = 120.0
"""Seconds for a boot and its command."""


@dataclass(frozen=True)
class Vng:
    """An installed virtme-ng and the kernel it shall boot."""

    binaries: Path
    kernel: Path
    release: str
    busybox: Path
    """A static one, for vng's initramfs."""

    def uname(self, *more: str) -> None:
        """Boot, run `uname -r`, and power off; `more` are further options of vng.

        Raises HostError, quoting what vng said, when it does not answer with the release.
        """
        argv = [
            "vng", "--run", str(self.kernel), "--busybox", str(self.busybox), "--disable-kvm",
            "--cpus", "2", "--memory", "1G", *more, "--", "uname", "-r",
        ]  # fmt: skip
        out = run(
            # vng wants a terminal.
            ["script", "-qec", shlex.join(argv), "/dev/null"],
            deadline=DEADLINE,
            env={**os.environ, "PATH": f"{self.binaries}:{os.environ['PATH']}"},
        )
        if self.release not in out:
            raise HostError(f"no {self.release} in what it said: {shlex.join(argv)}", detail=out)


def check_host() -> None:
    """Raise HostError, saying what to install, when this host lacks what vng needs."""
    if not any(path.exists() for path in UDEVD):
        raise HostError(
            "virtme-ng runs the host's udevd, and there is none",
            hint="make benchmark installs it, or: sudo apt-get install udev",
        )
    if shutil.which("script") is None:
        raise missing("script")


def prepare(kernel: Kernel, busybox: Path) -> Vng:
    """Install virtme-ng and unpack the package the lab's kernel came from.

    Raises HostError when Debian has a newer kernel by now than the lab's artifact.
    """
    place = dirs.cache("benchmarks")
    venv = place / "venv"
    if not (venv / "bin/vng").exists():
        run([sys.executable, "-m", "venv", venv], deadline=120)
        run([venv / "bin/pip", "install", "--quiet", REQUIREMENT], deadline=600)
    tree = place / f"kernel-{kernel.release}"
    if not tree.exists():
        _unpack(tree)
    image = tree / "boot" / f"vmlinuz-{kernel.release}"
    if not image.exists():
        raise HostError(
            f"Debian's kernel is newer than the lab's {kernel.release}",
            hint="lab kernel rm debian, and measure again",
        )
    return Vng(venv / "bin", image, kernel.release, busybox)


def _unpack(tree: Path) -> None:
    """Unpack Debian's kernel package, with the module index that vng needs."""
    shipped = SHIPPED["debian"]
    archive = tree.with_suffix(".tar")
    debian.extract([shipped.package], shipped.suite, archive)
    new = tree.with_suffix(".new")
    with tarfile.open(archive) as tar:
        tar.extractall(new, filter="tar")
    if not (new / "lib").exists():
        (new / "lib").symlink_to("usr/lib")
    (release,) = [path.name for path in (new / "usr/lib/modules").iterdir()]
    run(["depmod", "-b", new, release], deadline=120)
    new.rename(tree)
    archive.unlink()
