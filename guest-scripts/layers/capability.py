# SPDX-License-Identifier: GPL-2.0-or-later
"""A capability: a dict of its name, `supported` (None: not tried), and what there is to say; it is
`wrong` where success was reported without reason."""

import kernellog
import system
from area import NotTried


class Lacks(Exception):
    """Something is not supported, for a reason that is no errno."""


class Lies(Exception):
    """Success was reported, and what is there says otherwise."""


def attempt(capability, action, *arguments):
    """Do something that returns what there is to say; its capability."""
    log = kernellog.KernelLog()
    try:
        return result(capability, True, action(*arguments))
    except NotTried as why:
        return result(capability, None, f"not tried: {why}")
    except Lacks as why:
        return result(capability, False, str(why))
    except Lies as why:
        return wrong(capability, str(why))
    except system.Failure as problem:
        said = "; ".join(problem.said.splitlines())
    except OSError as problem:
        said = system.failure(capability, problem).said
    return result(capability, False, "; ".join([said, *log.messages()]))


def result(capability, supported, said):
    """A capability."""
    return {"capability": capability, "supported": supported, "said": said}


def wrong(capability, said):
    """A capability that is not there although success was reported, or that did harm."""
    return result(capability, False, said) | {"wrong": True}
