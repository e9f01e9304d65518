# SPDX-License-Identifier: GPL-2.0-or-later
"""On which hosts an item passed and failed: pure.

Hosts differ in ways that nobody wrote down, and so are a source of flakiness: what fails on one of
them alone, and passes on others under the same kernel, says something of that host first.
"""

from collections.abc import Mapping

from lab.results.tally import Tally

Hosts = Mapping[str, Tally]
"""How often an item passed, by host."""


def alone(run: Hosts) -> str:
    """The one host on which an item failed, where it passed on others; '' for none."""
    failing = [host for host, tally in run.items() if tally.failed]
    passing = [host for host, tally in run.items() if tally.passed and not tally.failed]
    return failing[0] if len(failing) == 1 and passing else ""


def remark(base: Hosts, run: Hosts) -> str:
    """What hosts have to do with a failure, in a few words; '' for nothing."""
    failing = sorted(host for host, tally in run.items() if tally.failed)
    if host := alone(run):
        others = ", ".join(sorted(other for other in run if other != host and run[other].passed))
        return f"failed on {host} alone, passed on {others}"
    ran = {host for host, tally in base.items() if tally.ran}
    if failing and ran and not ran & set(failing):
        return f"failed on {', '.join(failing)}, where the baseline never ran"
    return ""
