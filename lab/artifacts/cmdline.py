# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel command line that every guest of the lab boots with, and what stands on one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

KERNEL_ARGS: tuple[str, ...] = (
    # The lab reads readiness, oopses and panics here.
    "console=ttyS0",
    # Errors and worse print, panics with their trace; each line costs on an emulated port.
    "loglevel=4",
    # With QEMU's -no-reboot, QEMU exits at a panic and the lab quotes the console.
    "panic=-1",
    # eth0, whatever slot the network card is in.
    "net.ifnames=0",
    # The emulated timer works: do not wait to see it tick.
    "no_timer_check",
    # All emulated CPUs read the host's one counter: neither compare them when a CPU starts, nor
    # watch it afterwards (a busy host makes the watchdog distrust it).
    "tsc=reliable",
    # No security modules beside capabilities: 30 to 90 ms for AppArmor, IMA and EVM, which the
    # lab does not test.
    "lsm=",
    # No self-tests when an algorithm is loaded (crc32c for erofs): 60 to 90 ms.
    "cryptomgr.notests",
)

_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_PARAMETER = re.compile(r"(?P<module>[A-Za-z0-9_-]+)\.(?P<name>[^=]+)(?:=(?P<value>.*))?")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a module on a command line; `value` is None where none is given, which
    stands for true.  `module` and `name` are written with `_`, whatever was written."""

    module: str
    name: str
    value: str | None

    @property
    def argument(self) -> str:
        """As insmod takes it."""
        return self.name if self.value is None else f"{self.name}={self.value}"


def words(arguments: Iterable[str]) -> list[str]:
    """The words of a command line, as the kernel splits it: blanks in double quotes are none, and
    what stands after `--` is for init (kernel/params.c, parse_args; lib/cmdline.c, next_arg)."""
    found = _WORD.findall(" ".join(arguments))
    return found[: found.index("--")] if "--" in found else found


def parameters(arguments: Iterable[str]) -> list[Parameter]:
    """The parameters of modules on a command line, in its order: `nvme_core.io_timeout=3600`."""
    found = []
    for word in words(arguments):
        if match := _PARAMETER.fullmatch(word):
            module, name = module_name(match["module"]), match["name"].replace("-", "_")
            found.append(Parameter(module, name, match["value"]))
    return found


def module_name(file: str) -> str:
    """The name of a module that a file or a person calls otherwise: nvme_core for nvme-core.ko."""
    return file.removesuffix(".ko").replace("-", "_")
