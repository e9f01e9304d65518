# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin where no guest is booted: what it imports, and what it refuses."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

STARTED = "import pytest, sys, {what}; print(*sorted(sys.modules))"


def test_at_the_start_of_pytest_it_imports_nothing_but_itself() -> None:
    def imported(what: str) -> set[str]:
        code = STARTED.format(what=what)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    new = imported("lab.face.plugin") - imported("pytest")
    assert new == {"lab", "lab.face", "lab.face.plugin"}


def test_a_test_without_its_fixtures_does_not_import_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            there = {name for name in sys.modules if name.partition(".")[0] == "lab"}
            assert there == {"lab", "lab.face", "lab.face.plugin"}
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


WRONG = {
    "": 'lab_guest: which? say @pytest.mark.lab("nvme-copy")',
    "@pytest.mark.lab()": "lab_guest: which?*",
    "@pytest.mark.lab('nvme-copy', 'debian')": "lab_guest: which?*",
    "@pytest.mark.lab('nvme-copy', kernels='sid')": "*no kernels; it is lab(profile, *",
    "@pytest.mark.lab('nvme-copy', scope='folder')": "*scope is one of function, class,*",
    "@pytest.mark.lab('nvme-cpoy')": "lab: no profile 'nvme-cpoy'*did you mean nvme-copy*",
    "@pytest.mark.lab(profile='nvme-copy', kernel='none')": "lab: no kernel none (known: *",
    "@pytest.mark.lab('nvme-copy', qemu='none')": "lab: no QEMU none (known: *",
    "@pytest.mark.lab('nvme-copy', set='machine.memory=1 gig')": "lab: --set machine.memory=*",
    "@pytest.mark.parametrize('lab_guest', ['nope'], indirect=True)": "lab: no profile 'nope'*",
}
"""Marks, and what is said of them."""


def test_what_a_mark_asks_wrongly_is_told_in_words(pytester: pytest.Pytester) -> None:
    """In a process of its own: pytester would import parts of the lab twice."""
    tests = [f"{mark}\ndef test_{at}(lab_guest): pass\n" for at, mark in enumerate(WRONG)]
    pytester.makepyfile("import pytest\n" + "\n".join(tests))
    result = pytester.runpytest_subprocess("--strict-markers", "-p", "no:xdist")
    result.assert_outcomes(errors=len(WRONG))
    result.stdout.fnmatch_lines([*WRONG.values()])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*face/*.py*")
    result.stdout.no_fnmatch_line("*another exception*")


def test_the_kernel_of_the_command_line_is_for_tests_that_name_none(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.lab("nvme-copy")
        def test_any(lab_guest): pass

        @pytest.mark.lab("nvme-copy", kernel="its-own")
        def test_own(lab_guest): pass
        """
    )
    result = pytester.runpytest_subprocess("--lab-kernel", "given")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*no kernel given*", "*no kernel its-own*"])
