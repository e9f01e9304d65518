# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan: kernels by QEMUs by profiles by suites, read from YAML and checked before it starts."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.artifacts.kernels.names import kernel_name
from lab.artifacts.qemus.names import qemu_name
from lab.document import parse
from lab.errors import LabError
from lab.problem import InvalidProfileError, KeyPath
from lab.profile.load import load as load_profile
from lab.profile.units import Duration, Size
from lab.suites.request import Request
from lab.suites.suite import check, suites
from lab.yamlfile import text

_T = TypeVar("_T")
_NAMES = Annotated[tuple[str, ...], Field(min_length=1)]


class _PlanModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PlannedKernel(_PlanModel):
    """A kernel under test; the others are compared with the one that is the baseline."""

    kernel: str
    """As `--kernel` takes it."""
    baseline: bool = False


class Qemu(_PlanModel):
    """A QEMU to run in; those that are not the baseline are compared with it."""

    qemu: str
    """As `--qemu` takes it."""
    baseline: bool = False


class PlannedSuite(_PlanModel):
    """A suite with its arguments, on each profile of the plan or on some."""

    suite: str
    args: tuple[str, ...] = ()
    shards: int = Field(1, ge=1)
    """Guests among which its cases are divided, where it can do that."""
    profiles: tuple[str, ...] = ()
    """Empty: all of the plan's."""
    repeat: int = Field(1, ge=1, le=100)
    """Runs of it, so that flaky cases show."""
    priority: int = 0
    """What has more of it goes first; what the budget does not reach is left out."""
    labels: tuple[str, ...] = ()
    """What a worker must have been given by --labels to carry it out; see docs/many-hosts.md."""

    @property
    def words(self) -> tuple[str, ...]:
        """All arguments, as `lab run PROFILE SUITE --` takes them."""
        return (*self.args, *(("--shards", str(self.shards)) if self.shards > 1 else ()))


class Retention(_PlanModel):
    """What is kept of earlier nights; their rows in the store always are."""

    nights: int = Field(14, ge=1)
    size: Size = 20 << 30
    """Bytes that the evidence of all nights may take."""


class Plan(_PlanModel):
    """One plan.yaml; its name is the file's without the suffix."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    kernels: tuple[PlannedKernel, ...] = Field(min_length=1)
    qemus: tuple[Qemu, ...] = ()
    """Empty: that of each profile."""
    profiles: _NAMES
    suites: tuple[PlannedSuite, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    """Those that every run of the plan asks of its worker."""
    budget: Duration = 12 * 3600.0
    """Seconds after which no further run is begun."""
    retention: Retention = Retention()

    @property
    def digest(self) -> str:
        """Tells whether an unfinished night is of this very plan."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@dataclass(frozen=True)
class Job:
    """One run that a plan asks for."""

    request: Request
    baseline: bool
    repetition: int = 1
    """From 1 on."""
    priority: int = 0
    labels: tuple[str, ...] = ()
    """Of the workers that may carry it out."""

    @property
    def title(self) -> str:
        """How people call it."""
        again = f" #{self.repetition}" if self.repetition > 1 else ""
        return f"{self.request.title}{again}"

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {
            "kernel": self.request.kernel,
            "qemu": self.request.qemu,
            "baseline": self.baseline,
            "profile": self.request.profile,
            "suite": self.request.suite,
            "args": list(self.request.options),
            "repetition": self.repetition,
            "priority": self.priority,
            "labels": list(self.labels),
        }


def jobs(plan: Plan) -> list[Job]:
    """The runs of a plan in the order in which they are carried out.

    Within a priority all kernels, in all QEMUs, do the same thing before the next thing begins, the
    baseline first: whatever the budget cuts off, what was done can be compared.
    """
    platforms = [
        (kernel.kernel, qemu.qemu, kernel.baseline and qemu.baseline)
        for kernel in sorted(plan.kernels, key=lambda each: not each.baseline)
        for qemu in sorted(plan.qemus, key=lambda each: not each.baseline) or [_OF_PROFILE]
    ]
    found = [
        Job(
            Request(profile, suite.suite, suite.words, kernel=kernel, qemu=qemu),
            baseline, repetition, suite.priority, (*plan.labels, *suite.labels),
        )
        for suite in plan.suites
        for profile in suite.profiles or plan.profiles
        for repetition in range(1, suite.repeat + 1)
        for kernel, qemu, baseline in platforms
    ]  # fmt: skip
    return sorted(found, key=lambda job: -job.priority)


_OF_PROFILE = Qemu(qemu="", baseline=True)


def load(path: Path) -> Plan:
    """The plan in a YAML file, with all that it names looked up.

    Raises InvalidProfileError with a line for each thing that is wrong.
    """
    document = parse(text(path), str(path))
    wrong: list[tuple[KeyPath, str]] = []
    data = document.data if isinstance(document.data, dict) else {}
    if not isinstance(document.data, dict):
        wrong.append(((), "expected kernels, profiles and suites"))
    else:
        try:
            plan = Plan.model_validate({**data, "name": path.stem})
            wrong += _unknown(plan)
        except ValidationError as error:
            wrong += [(_path(each["loc"]), each["msg"]) for each in error.errors()]
    if problems := document.problems(wrong):
        raise InvalidProfileError(problems, hint="docs/nightly.md has an example")
    return plan.model_copy(
        update={
            "kernels": tuple(
                kernel.model_copy(update={"kernel": kernel_name(kernel.kernel)})
                for kernel in plan.kernels
            ),
            "qemus": tuple(
                qemu.model_copy(update={"qemu": qemu_name(qemu.qemu)}) for qemu in plan.qemus
            ),
        }
    )


def _unknown(plan: Plan) -> Iterator[tuple[KeyPath, str]]:
    """What the plan names and nobody knows."""
    if sum(kernel.baseline for kernel in plan.kernels) != 1:
        yield ("kernels",), "expected one kernel with `baseline: true`"
    if len({kernel.kernel for kernel in plan.kernels}) < len(plan.kernels):
        yield ("kernels",), "the same kernel twice"
    for number, kernel in enumerate(plan.kernels):
        if said := _refusal(kernel_name, kernel.kernel):
            yield ("kernels", number, "kernel"), said
    if plan.qemus and sum(qemu.baseline for qemu in plan.qemus) != 1:
        yield ("qemus",), "expected one QEMU with `baseline: true`"
    if len({qemu.qemu for qemu in plan.qemus}) < len(plan.qemus):
        yield ("qemus",), "the same QEMU twice"
    for number, qemu in enumerate(plan.qemus):
        if said := _refusal(qemu_name, qemu.qemu):
            yield ("qemus", number, "qemu"), said
    for number, profile in enumerate(plan.profiles):
        if said := _refusal(load_profile, profile):
            yield ("profiles", number), said
    for number, suite in enumerate(plan.suites):
        if suite.suite not in suites():
            yield ("suites", number, "suite"), f"no such suite; there are: {', '.join(suites())}"
        elif said := _refusal(partial(check, suite.suite), suite.words):
            yield ("suites", number, "args" if suite.args else "suite"), said
        for at, profile in enumerate(suite.profiles):
            if profile not in plan.profiles:
                yield (
                    ("suites", number, "profiles", at),
                    f"{profile} is none of the plan's profiles",
                )


def _refusal(look_up: Callable[[_T], object], name: _T) -> str:
    """Why `name` means nothing; empty if it does."""
    try:
        look_up(name)
    except LabError as error:
        return str(error)
    return ""


def _path(loc: tuple[int | str, ...]) -> KeyPath:
    return tuple(step for step in loc if step != "name")
