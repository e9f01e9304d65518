# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's time stamp counter, as guests are told of it."""

import platform
import time

import pytest

from lab.host import dirs, tsc

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="no such counter")


@pytest.fixture(autouse=True)
def unknown() -> None:
    """Nobody has asked yet."""
    tsc.khz.cache_clear()


@X86
def test_it_is_measured_once_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tsc.khz()
    assert found and 100_000 < found < 10_000_000
    tsc.khz.cache_clear()
    monkeypatch.setattr(tsc, "_measured", lambda: 1)
    assert tsc.khz() == found


@X86
def test_two_measurements_agree() -> None:
    one, other = tsc._measured(), tsc._measured()
    assert one and other and abs(one - other) < one // 1000


def test_one_of_another_host_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    (dirs.cache() / "tsc.json").write_text('{"host": "another", "khz": 5}')
    monkeypatch.setattr(tsc, "_measured", lambda: 7)
    assert tsc.khz() == 7


def test_where_it_cannot_be_known_the_guest_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert tsc.khz() is None
    assert tsc.arguments("tcg") == ()


def test_only_emulated_cpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsc, "_measured", lambda: 2_596_124)
    assert tsc.arguments("kvm") == ()
    assert tsc.arguments("tcg") == ("tsc_early_khz=2596124",)


def test_the_look_with_the_least_doubt_counts() -> None:
    counts = iter(range(10**6))

    def slow_but_once() -> int:
        number = next(counts)
        if number != 20:
            time.sleep(0.0005)
        return number

    assert tsc._look(slow_but_once)[1] == 20
