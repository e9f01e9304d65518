# SPDX-License-Identifier: GPL-2.0-or-later
"""A small program of C that counts what it executes, in place of a kernel: compiled, run, read."""

import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts.kernels import notes
from lab.results import coverage
from lab.results.coverage import Circumstance, CountRecord

COPY_C = """\
#include "copy.h"

int copy(int blocks)
{
	int done = limit(blocks);

	if (done < 0)
		return done;
	if (done == 7)
		done = 70;
	return done;
}
"""

COPY_H = """\
static inline int limit(int blocks)
{
	if (blocks > 100)
		return -1;
	return blocks;
}
"""

MAIN_C = """\
int copy(int blocks);

int main(int argc, char **argv)
{
	return copy(argc > 1 ? argc * 4 - 1 : 200) == 1000;
}
"""

SERIES = """\
diff --git a/block/copy.c b/block/copy.c
--- a/block/copy.c
+++ b/block/copy.c
@@ -6,0 +7,4 @@ int copy(int blocks)
+	if (done < 0)
+		return done;
+	if (done == 7)
+		done = 70;
diff --git a/fs/other.c b/fs/other.c
--- a/fs/other.c
+++ b/fs/other.c
@@ -1,0 +2 @@
+int another;
"""


@dataclass(frozen=True)
class Compiled:
    """A build directory with objects that count, and a directory for a run."""

    place: Path

    @property
    def artifact(self) -> Path:
        return self.place / "artifact"

    @property
    def run(self) -> Path:
        return self.place / "run"

    def build(self, *, series: str = SERIES) -> None:
        """Compile, and keep what a kernel's artifact has of it."""
        source, out = self.place / "source", self.place / "out"
        for name, text in (("copy.c", COPY_C), ("copy.h", COPY_H), ("main.c", MAIN_C)):
            (source / "block").mkdir(parents=True, exist_ok=True)
            (source / "block" / name).write_text(text)
        (out / "block").mkdir(parents=True)
        (out / "Makefile").write_text(f"include {source}/Makefile\n")
        for name in ("copy", "main"):
            argv = ["gcc", "-ftest-coverage", "-fprofile-arcs", "-c", f"{source}/block/{name}.c"]
            subprocess.run([*argv, "-o", f"block/{name}.o"], cwd=out, check=True)
            (out / f"block/.{name}.o.cmd").write_text(f"savedcmd := {' '.join(argv)}\n")
        objects = ["block/copy.o", "block/main.o"]
        subprocess.run(["gcc", "--coverage", *objects, "-o", "program"], cwd=out, check=True)
        self.artifact.mkdir()
        notes.keep(out, source, ("block",), self.artifact)
        if series:
            (self.artifact / notes.DIRECTORY / "series.diff").write_text(series)

    def count(self, case: str, circumstance: Circumstance, *words: str, calls: int = 1) -> None:
        """Run the program, and put down what it counted to a case."""
        place = self.run / coverage.DIRECTORY
        place.mkdir(parents=True, exist_ok=True)
        for _ in range(calls):
            subprocess.run(["./program", *words], cwd=self.place / "out", check=True)
        name = f"1-{len(list(place.glob('*.zip'))) + 1:05}.zip"
        with zipfile.ZipFile(place / name, "w") as archive:
            for counts in (self.place / "out").rglob("*.gcda"):
                archive.write(counts, str(counts).lstrip("/"))
                counts.unlink()
        self.note(CountRecord(case=case, circumstance=circumstance, file=name, seconds=0.25))

    def note(self, record: CountRecord) -> None:
        """Put down a record."""
        with (self.run / coverage.DIRECTORY / coverage.COUNTS).open("a") as file:
            file.write(record.model_dump_json() + "\n")
