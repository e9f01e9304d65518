# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that begin from checkpoints, and the bad days of these.  The cache is the user's but for
checkpoints, of which this module has its own.

LAB_BOTH_WAYS=1 runs all cases of copy-faults on four profiles both ways.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import platformdirs
import pytest

from tests.boot.conftest import Lab, apart, wait_for

FOUR = ("nvme-copy", "zns", "loop-xfs-reflink", "scsi-xcopy")
SMALL = ("--set", "machine.memory=768M")
"""Another machine, and so another checkpoint."""


@pytest.fixture(scope="module")
def own(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with checkpoints of its own."""
    cache, shared = tmp_path_factory.mktemp("cache"), platformdirs.user_cache_path("lab")
    (cache / "lab/artifacts/checkpoint").mkdir(parents=True)
    for kind in (shared / "artifacts").iterdir():
        if kind.name != "checkpoint":
            (cache / "lab/artifacts" / kind.name).symlink_to(kind)
    for file in shared.iterdir():
        if file.is_file():
            shutil.copy(file, cache / "lab")
    state = tmp_path_factory.mktemp("own-state")
    own = replace(lab, state=state, env={**lab.env, "XDG_CACHE_HOME": str(cache)} | homes(state))
    yield own
    own("down", "--all")
    assert own.leftovers() == []


def homes(state: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(state)}


def store(own: Lab) -> Path:
    return Path(own.env["XDG_CACHE_HOME"]) / "lab/artifacts/checkpoint"


def made(own: Lab) -> list[Path]:
    return [path for path in store(own).iterdir() if not path.name.startswith(".")]


def half_made(own: Lab) -> list[Path]:
    return list(store(own).glob(".partial-*"))


def cold(own: Lab, name: str = "nvme-copy") -> str | None:
    """Why the guest was booted; None if it began from a checkpoint."""
    record: dict[str, Any] = json.loads((own.state / f"lab/guests/{name}/guest.json").read_text())
    why: str | None = record["cold"]
    return why


@pytest.fixture(scope="module")
def checkpoint(own: Lab) -> Path:
    """The checkpoint of nvme-copy, made beside its first boot."""
    own("up", "nvme-copy")
    assert cold(own) == "there was no checkpoint yet"
    own("down", "nvme-copy")
    wait_for(lambda: made(own), "a checkpoint", 240)
    (path,) = made(own)
    return path


def working_in(directory: Path) -> list[int]:
    """The processes that work there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == directory:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_guest_begins_from_it_and_outlives_it(own: Lab, checkpoint: Path) -> None:
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "about.json", "manifest.json", "memory", "state",
    ]  # fmt: skip
    own("up", "nvme-copy")
    assert cold(own) is None
    plugged = json.loads((own.state / "lab/guests/nvme-copy/plugged.json").read_text())
    assert [device.partition(",")[0] for device in plugged["device_add"]] == ["nvme", "nvme-ns"]
    aside = checkpoint.with_name(".aside")
    shutil.copytree(checkpoint, aside)
    shutil.rmtree(checkpoint)
    # What it maps and has not touched yet is still there.
    own("ssh", "nvme-copy", "--", "layers", "verify")
    own("down", "nvme-copy")
    aside.rename(checkpoint)


def test_it_is_listed_with_what_it_was_made_of(own: Lab, checkpoint: Path) -> None:
    (found,) = json.loads(own("checkpoint", "list", "--json").stdout)
    assert (found["path"], found["failed"]) == (str(checkpoint), None)
    assert (found["image"], found["cpus"], found["memory"]) == ("trixie", 2, 1 << 30)
    # A seventh of the memory, and what QEMU itself has to remember.
    assert 50e6 < found["size"] < 400e6
    program = "from lab.guest import shelf; print(shelf.superseded([]))"
    python = Path(own.program).with_name("python")
    done = subprocess.run(
        [python, "-c", program], env=own.env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_cold_is_cold(own: Lab, checkpoint: Path) -> None:
    own("up", "nvme-copy", "--boot", "cold")
    assert cold(own) == "asked for"
    (found,) = json.loads(own("ls", "--json").stdout)
    assert (found["began"], found["cold"]) == ("boot", "asked for")
    own("down", "nvme-copy")


@pytest.mark.parametrize("damage", ["truncated", "of another state", "without a state"])
def test_a_damaged_one_is_refused_and_the_guest_booted(
    own: Lab, checkpoint: Path, damage: str
) -> None:
    aside = checkpoint.with_name(".aside")
    subprocess.run(["cp", "-a", "--sparse=always", checkpoint, aside], check=True)
    try:
        memory = checkpoint / "memory"
        if damage == "truncated":
            os.truncate(memory, memory.stat().st_size // 2)
        elif damage == "without a state":
            (checkpoint / "state").unlink()
        else:
            with memory.open("r+b") as file:
                file.seek(-4096, os.SEEK_END)
                file.write(b"lab: the memory of the state 0000")
        done = own("up", "nvme-copy")
        assert f"checkpoint {checkpoint.name}" in (cold(own) or "")
        assert f"checkpoint {checkpoint.name}" in done.stderr
        own("down", "nvme-copy")
    finally:
        shutil.rmtree(checkpoint)
        aside.rename(checkpoint)


def test_a_qemu_that_dies_while_it_loads_is_followed_by_a_boot(
    own: Lab, checkpoint: Path, tmp_path: Path
) -> None:
    # It is started on a command line that says so, and dies before it has read anything.
    program = shutil.which("qemu-system-x86_64")
    broken = tmp_path / "qemu"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *-incoming*) kill -SEGV $$ ;; *) exec {program} "$@" ;; esac\n'
    )
    broken.chmod(0o755)
    env = {"LAB_QEMU": str(broken)}
    own("up", "nvme-copy", env=env)
    own("down", "nvme-copy")
    wait_for(lambda: len(made(own)) == 2, "its checkpoint", 240)
    done = own("up", "nvme-copy", env=env)
    assert "the checkpoint is of no use: QEMU was killed by signal 11" in done.stderr
    assert "signal 11" in (cold(own) or "")
    own("down", "nvme-copy")
    (other,) = [path for path in made(own) if path != checkpoint]
    shutil.rmtree(other)


def test_a_maker_that_is_killed_is_followed_by_another(own: Lab, checkpoint: Path) -> None:
    own("up", "nvme-copy", *SMALL)
    own("down", "nvme-copy")
    wait_for(lambda: [pid for path in half_made(own) for pid in working_in(path)], "its QEMU", 120)
    makers = subprocess.run(
        ["pgrep", "-f", "lab.guest.making"], capture_output=True, text=True, check=True
    )
    for pid in makers.stdout.split():
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        if own.env["XDG_CACHE_HOME"].encode() in environ:
            os.kill(int(pid), signal.SIGKILL)
    (left,) = half_made(own)
    assert working_in(left)
    # Two at once: one of them sweeps, and makes it.
    both = [own.start("up", "nvme-copy", *SMALL, "--name", name) for name in ("one", "two")]
    for up in both:
        _, stderr = up.communicate(timeout=300)
        assert up.returncode == 0, stderr
    own("down", "one")
    own("down", "two")
    wait_for(lambda: len(made(own)) == 2, "one more checkpoint", 240)
    wait_for(lambda: not half_made(own), "nothing half-made", 60)
    own("up", "nvme-copy", *SMALL)
    assert cold(own) is None
    own("down", "nvme-copy")


def test_no_room_for_one(own: Lab, checkpoint: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    aside = store(own).with_name("aside")
    store(own).rename(aside)
    store(own).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", store(own)], check=True)
    try:
        own("up", "nvme-copy")
        assert cold(own) == "there was no checkpoint yet"
        own("down", "nvme-copy")
        wait_for(lambda: list(store(own).glob(".failed-*")), "the reason", 120)
        own("up", "nvme-copy")
        assert "building needs" in (cold(own) or "")
        own("down", "nvme-copy")
    finally:
        subprocess.run(["umount", store(own)], check=True)
        store(own).rmdir()
        aside.rename(store(own))


def test_a_qemu_that_cannot_map_the_memory_has_it_in_the_state(own: Lab, checkpoint: Path) -> None:
    change = "machine.memory=640M"
    code = f"""
        from lab.guest import making
        from lab.guest.boot import Platform
        from lab.guest.checkpoints import Recipe
        from lab.profile.load import load
        profile = load("nvme-copy", [{change!r}])
        making.checkpoint.can_map = lambda machine: False
        making.ensure(Recipe.of(profile, Platform.find(profile, print), None), print)
        """
    subprocess.run([sys.executable, "-c", dedent(code)], env=own.env, check=True, timeout=300)
    (path,) = [path for path in made(own) if not (path / "memory").exists()]
    own("up", "nvme-copy", "--set", change)
    assert cold(own) is None
    own("ssh", "nvme-copy", "--", "layers", "verify")
    own("down", "nvme-copy")
    shutil.rmtree(path)


def verdicts(own: Lab, profile: str, boot: str, *args: str) -> dict[str, Any]:
    """The verdict on each case of copy-faults, by the point and what is done there."""
    done = own(
        "run", profile, "copy-faults", "--json", "--set", f"guest.boot={boot}", "--", *args,
        status=None, deadline=3600,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    cases = apart(json.loads(done.stdout))["cases"]
    for case in cases:
        broken = {rule: told for rule, told in case["rules"].items() if told["verdict"] != "n/a"}
        print(boot, case["point"], case["action"], case["verdict"], broken)
    return {f"{case['point']} {case['action']}": case["verdict"] for case in cases}


def test_verdicts_do_not_depend_on_the_way(own: Lab, checkpoint: Path) -> None:
    args = ("--points", "write:2,flushed", "--actions", "torn,kill,power-cut")
    first = verdicts(own, "nvme-copy", "cold", *args)
    assert len(first) == 5
    assert verdicts(own, "nvme-copy", "checkpoint", *args) == first


@pytest.mark.skipif(not os.environ.get("LAB_BOTH_WAYS"), reason="LAB_BOTH_WAYS=1: 20 minutes")
@pytest.mark.parametrize("profile", FOUR)
def test_no_verdict_depends_on_the_way(own: Lab, checkpoint: Path, profile: str) -> None:
    cold_ones = verdicts(own, profile, "cold")
    assert len(cold_ones) > 10
    assert verdicts(own, profile, "checkpoint") == cold_ones
