# SPDX-License-Identifier: GPL-2.0-or-later
"""Quirks: differences from the reference model that somebody has looked at and accepted.

A file of them is YAML, as `lab run PROFILE conformance` proposes it:

    quirks:
      - path: nvme-copy
        device: QEMU 7.2*
        rule: ERROR-CLASS
        situation: write eio
        consequence: callers must not tell media errors from others
"""

from collections.abc import Iterable
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from lab import yamlfile
from lab.document import looks
from lab.suites.conformance.matrix import RuleDifference

CONSEQUENCES = {
    "COMPLETE": "success does not mean that all is copied: refuse the offload",
    "PREFIX": "the reported progress is not to be believed: after a failure copy all of it again",
    "NO-FOREIGN": "after a failure the destination may be neither old nor new: write it anew",
    "SOURCE": "the source is not safe: refuse the offload",
    "NEIGHBOUR": "data beside the destination are not safe: refuse the offload",
    "SIGNALLED": "errors of the medium get lost: verify after every copy, or refuse the offload",
    "ERROR-CLASS": "callers cannot tell this error from others by its errno",
    "DURABLE": "a flush does not make the copy durable: refuse the offload where that matters",
    "RECOVERS": "the device needs more than the end of the fault: reset it after a failure",
    "NO-HANG": "a failure can take the device or the guest down: refuse the offload",
    "OFFLOADED": "nothing is gained: the data are moved by the caller",
    "COHERENT": "programs see other data than the copy: refuse the offload where a cache is",
    "LIMITS": "its limits are not to be believed: keep copies well below them",
}
"""What follows, by the rule that is broken; a proposal, for a person to make better."""


class Quirk(BaseModel):
    """A known difference of a path on a device or driver (a pattern, as a shell has them)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    device: str
    rule: str
    situation: str
    consequence: str

    def covers(self, difference: RuleDifference, device: str) -> bool:
        """Whether a difference that was seen on `device` is this quirk."""
        return (
            self.path == difference.path
            and self.rule == difference.rule
            and fnmatch(str(difference.situation), self.situation)
            and fnmatch(device, self.device)
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    quirks: list[Quirk]


_FORM = "quirks: [{path, device, rule, situation, consequence}, …], all of them text"

_READER = TypeAdapter(_File)


def load(path: Path) -> list[Quirk]:
    """The quirks in a file.

    Raises ProfileError, with the line and the key that is wrong, when it cannot be read or is none.
    """
    return yamlfile.read(path, _READER, hint=_FORM).quirks


def propose(differences: Iterable[RuleDifference], device: str) -> list[Quirk]:
    """A quirk for each difference that was seen on `device`."""
    return [
        Quirk(
            path=each.path,
            device=escape(device),
            rule=each.rule,
            situation=str(each.situation),
            consequence=CONSEQUENCES[each.rule],
        )
        for each in differences
    ]


def dump(quirks: Iterable[Quirk]) -> str:
    """The quirks as a file of them."""
    rows: list[dict[str, Any]] = [quirk.model_dump() for quirk in quirks]
    # In ASCII: not every character would be read back as it was.
    return yaml.dump({"quirks": rows}, Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """PyYAML's, which leaves out quotes by the rules of YAML 1.1, where 0E0 is no number."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Quoted where the lab's own reader would take it for something else."""
        style = None if isinstance(looks(data), str) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)
