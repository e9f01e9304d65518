# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of what the profile and the lab put on the kernel's command line.

The kernel takes much in silence: a parameter of a module that does not exist, a value that it makes
another one of, a word that nobody knows.
"""

import os

import kernellog
import system

MODULES = "/sys/module"
SYSCTL = "/proc/sys"
UNKNOWN = "Unknown kernel command line parameters"
"""What the kernel says of words that it does not know (init/main.c, print_unknown_bootoptions)."""

HOLDS = "holds"
LATER = "later"
"""Whoever loads the module sees to it: modprobe reads the command line."""
HIDDEN = "hidden"
"""It exists, and cannot be read."""
OTHER = "other value"
NONE = "not there"


def look(asked):
    """A step for each setting that was asked for: the description's `parameters` and `words`."""
    for parameter in asked["parameters"]:
        yield _step(
            f"{parameter['module']}.{parameter['name']}",
            parameter["value"],
            *_parameter(parameter["module"], parameter["name"], parameter["value"]),
        )
    if asked["words"]:
        unknown = _unknown_words(kernellog.since_boot())
        for word in asked["words"]:
            if word in unknown:
                yield _step(word, None, NONE, f"{UNKNOWN} {' '.join(unknown)}")


def _step(name, value, status, said=""):
    return {"event": "setting", "name": name, "asked": value, "status": status, "said": said}


def _parameter(module, name, value):
    """Status and what is said of it, of one parameter."""
    if module == "sysctl":
        # Documentation/admin-guide/kernel-parameters.txt, sysctl.*
        return _compared(f"{SYSCTL}/{name.replace('.', '/')}", value) or (NONE, "no such sysctl")
    if found := _compared(f"{MODULES}/{module}/parameters/{name}", value):
        return found
    if not system.works(["modprobe", "-nq", module]):
        return NONE, f"this kernel has no module {module}"
    known = system.run(["modinfo", "-F", "parm", module]).splitlines()
    if not any(line.partition(":")[0] == name for line in known):
        return NONE, f"{module} has no parameter {name}"
    return (HIDDEN if os.path.isdir(f"{MODULES}/{module}") else LATER), ""


def _compared(path, value):
    """Status and what the file says; None when there is no such file."""
    try:
        found = system.read(path)
    except FileNotFoundError:
        return None
    except OSError as problem:  # it can be written only
        return HIDDEN, str(problem)
    return (HOLDS if same(value, found) else OTHER), found


def same(asked, found):
    """Whether what was asked for (None: true) is what a file of sysfs or /proc/sys says."""
    return system.same("Y" if asked is None else asked.strip('"'), found)


def _unknown_words(messages):
    """The words of the command line that the kernel said it does not know."""
    for message in messages:
        if UNKNOWN in message:
            return message.partition('"')[2].rpartition('"')[0].split()
    return []
