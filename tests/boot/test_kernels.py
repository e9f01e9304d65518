# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on other kernels than Debian's: an image with modules, a tree, sources with a patch.

The last takes minutes and a compiler, so it is run when LAB_KERNEL_SOURCE names sources, such as
/usr/src/linux-source-6.12.tar.xz of Debian's package.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.conftest import Lab

PATCH = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Tester <tester@example.org>
Date: Tue, 24 Nov 2026 12:00:00 +0000
Subject: [PATCH] fs: Refuse copy_file_range()

---
diff --git a/fs/read_write.c b/fs/read_write.c
--- a/fs/read_write.c
+++ b/fs/read_write.c
@@ -{line},6 +{line},8 @@
{before}+\tif (len)
+\t\treturn -EDOM;
{after}"""

COPY = """
import os, sys
try:
    os.copy_file_range(os.open("/tmp/a", os.O_RDONLY), os.open("/tmp/b", os.O_WRONLY), 4096)
except OSError as error:
    sys.exit(error.strerror)
"""


@pytest.fixture(scope="module")
def installed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Debian's kernel as if somebody had built and installed it."""
    lab("kernel", "build", "debian", deadline=900)
    kernels = json.loads(lab("kernel", "list", "--json").stdout)
    (debian,) = [kernel for kernel in kernels if kernel["name"] == "debian"]
    artifact = Path(debian["built"][0]["path"])
    release = debian["built"][0]["versions"]["release"]
    modules = tmp_path_factory.mktemp("modules") / release
    subprocess.run(
        ["fsck.erofs", f"--extract={modules}", artifact / "modules.erofs"],
        check=True,
        capture_output=True,
    )
    return {"image": artifact / "vmlinux", "modules": modules}


@pytest.fixture
def added(lab: Lab) -> Iterator[list[str]]:
    """Names of kernels that a test adds."""
    names: list[str] = []
    yield names
    for name in names:
        lab("kernel", "rm", name)


def test_an_image_with_a_directory_of_modules(
    lab: Lab, installed: dict[str, Path], added: list[str]
) -> None:
    options = [f"--{option}={path}" for option, path in installed.items()]
    lab("kernel", "add", "installed", *options)
    added.append("installed")
    lab("up", "nvme-copy", "--name", "image", "--kernel", "installed", deadline=900)
    try:
        done = lab("ssh", "image", "--", "uname -r; modprobe loop; ls /sys/module/loop")
        assert done.stdout.split()[0] == installed["modules"].name
        assert "parameters" in done.stdout
    finally:
        lab("down", "image")


def test_modules_of_another_kernel_are_refused(
    lab: Lab, installed: dict[str, Path], tmp_path: Path
) -> None:
    done = lab("run", "nvme-copy", "copy-faults", "--kernel", str(tmp_path), status=2)
    assert "vmlinux is missing" in done.stderr
    done = lab("kernel", "add", "x", "--image", "/no/such", "--modules", "/", status=2)
    assert "no such kernel image" in done.stderr


@pytest.mark.skipif("LAB_KERNEL_SOURCE" not in os.environ, reason="LAB_KERNEL_SOURCE is not set")
def test_sources_with_a_patch(lab: Lab, tmp_path: Path) -> None:
    # Not removed at the end: what was compiled is for the next time.
    source = os.environ["LAB_KERNEL_SOURCE"]
    lab("kernel", "add", "base", "--source", source)
    lab("kernel", "build", "base", deadline=7200)
    tree = next(path for path in _trees() if (path / "fs/read_write.c").exists())
    lines = (tree / "fs/read_write.c").read_text().splitlines()
    start = lines.index("ssize_t vfs_copy_file_range(struct file *file_in, loff_t pos_in,")
    # After the declarations.
    blank = lines.index("", start)
    series = tmp_path / "refuse.mbox"
    before, after = (
        "".join(f" {line}\n" for line in some)
        for some in (lines[blank - 3 : blank], lines[blank : blank + 3])
    )
    series.write_text(PATCH.format(line=blank - 2, before=before, after=after))
    lab("kernel", "add", "patched", "--source", source, "--series", str(series), deadline=600)
    lab("kernel", "build", "patched", deadline=7200)
    copy = f"truncate -s 8k /tmp/a /tmp/b; python3 -c '{COPY}'"
    for kernel, status in (("base", 0), ("patched", 1)):
        lab("up", "nvme-copy", "--name", "source", "--kernel", kernel, deadline=900)
        try:
            done = lab("ssh", "source", "--", copy, status=status)
            assert ("Numerical argument out of domain" in done.stderr) == (status == 1)
            lab(
                "ssh",
                "source",
                "--",
                "dmsetup targets | grep dust; ls /sys/kernel/debug/fail_make_request",
            )
        finally:
            lab("down", "source")


def _trees() -> list[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return list(cache.glob("lab/linux/*/source"))
