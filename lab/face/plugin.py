# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin: guests of the lab, copies and faults as fixtures (docs/pytest.md).

Whoever has the lab installed has the plugin in every pytest: nothing of the lab is imported before
a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lab.face.faulting import FaultedCopy
    from lab.face.handle import GuestHandle
    from lab.face.outcome import RunOutcome
    from lab.face.pool import GuestUse, Pool

SCOPES = ("function", "class", "module", "session")
_MARK = (
    "lab(profile, *, kernel=None, qemu=None, set=(), scope='function'): the guest that lab_guest "
    "is; one of the same profile, kernel, QEMU and settings is shared within its scope"
)
_KEPT = "lab: the guest is kept"

_USE: pytest.StashKey[GuestUse] = pytest.StashKey()
"""Of a test that has a guest: which."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a user may say for all tests with guests."""
    group = parser.getgroup("lab", "guests of the lab")
    group.addoption(
        "--lab-kernel", metavar="KERNEL",
        help="boot this kernel where a test does not name one; as `lab up --kernel` takes it",
    )  # fmt: skip
    group.addoption(
        "--lab-keep", action="store_true", help="leave the guest of a failed test up, as it is"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the mark."""
    config.addinivalue_line("markers", _MARK)


def _pool(scope: Any) -> Any:
    @pytest.fixture(scope=scope, name=f"_lab_{scope}")
    def pool() -> Iterator[Pool]:
        from lab.face.pool import Pool

        with _clear(), Pool() as guests:
            yield guests

    return pool


_lab_function, _lab_class, _lab_module, _lab_session = map(_pool, SCOPES)


@pytest.fixture
def lab_guest(request: pytest.FixtureRequest) -> Iterator[GuestHandle]:
    """A guest of the profile that the test's mark names, as docs/python.md has it."""
    asked = {"scope": "function", **_asked(request)}
    scope = asked.pop("scope")
    if scope not in SCOPES:
        pytest.fail(f"@pytest.mark.lab: scope is one of {', '.join(SCOPES)}", pytrace=False)
    pool: Pool = request.getfixturevalue(f"_lab_{scope}")
    with _clear():
        use = pool.use(**asked)
    request.node.stash[_USE] = use
    yield use.guest
    del request.node.stash[_USE]


@pytest.fixture
def lab_copy(request: pytest.FixtureRequest, lab_guest: GuestHandle) -> Callable[..., RunOutcome]:
    """Makes a copy on the profile's path in lab_guest and judges it; copy-faults' options go by
    name."""
    use: GuestUse = request.node.stash[_USE]
    return use.copy


@pytest.fixture
def lab_fault(
    request: pytest.FixtureRequest, lab_guest: GuestHandle
) -> Callable[..., AbstractContextManager[FaultedCopy]]:
    """Makes a copy in lab_guest that is held at a point during a `with` block, then has an action
    happen to it and is judged: `with lab_fault("write:2", "eio") as fault`."""
    use: GuestUse = request.node.stash[_USE]
    return use.fault


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have the report of a test that failed with a guest tell what the guest has to say."""
    report = yield
    use = item.stash.get(_USE, None)
    if use and report.failed:
        report.sections += use.sections(item.nodeid)
        if item.config.getoption("lab_keep"):
            report.sections.append((_KEPT, use.keep()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell which guests were left up, and how to get in."""
    reports = [each for kind in ("failed", "error") for each in terminalreporter.getreports(kind)]
    for report in reports:
        for title, text in report.sections:
            if title == _KEPT:
                terminalreporter.write_line(f"{report.nodeid}: {text}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """Remove the guests of a worker of pytest-xdist that was killed."""
    if error:
        from lab.guest import registry

        registry.sweep()


def _asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the mark of a test asks for, and its parameter: a profile, or arguments of the mark."""
    mark = request.node.get_closest_marker("lab")
    given = dict(mark.kwargs) if mark else {}
    if mark and mark.args:
        given["profile"] = mark.args[0]
    parameter = getattr(request, "param", {})
    given |= {"profile": parameter} if isinstance(parameter, str) else parameter
    if "profile" not in given or (mark and len(mark.args) > 1):
        pytest.fail('lab_guest: which? say @pytest.mark.lab("nvme-copy")', pytrace=False)
    if unknown := given.keys() - {"profile", "kernel", "qemu", "set", "scope"}:
        pytest.fail(f"@pytest.mark.lab: no {', '.join(unknown)}; it is {_MARK}", pytrace=False)
    return {"kernel": request.config.getoption("lab_kernel"), **given}


@contextmanager
def _clear() -> Iterator[None]:
    """Have an error of the lab's told in its words, without a traceback through the lab."""
    from lab.errors import LabError

    try:
        yield
    except LabError as error:
        raise pytest.fail.Exception(f"lab: {error}", pytrace=False) from None
