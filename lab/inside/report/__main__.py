# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m lab.inside.report DUMP SYMBOLS`: the report of a dump, written beside it.

A program of its own: symbols take hundreds of megabytes, which whoever wants the report, perhaps in
the middle of a run, has no other use for.
"""

import json
import sys
from pathlib import Path

from lab.errors import LabError
from lab.inside.dump import unpacked
from lab.inside.program import opened
from lab.inside.report.make import report
from lab.inside.report.text import lines
from lab.results.dumps import document_beside, report_beside


def main() -> int:
    """Make it; what is wrong is said on stderr, with the error's exit status."""
    dump, symbols = map(Path, sys.argv[1:])
    try:
        with unpacked(dump) as core:
            made = report(opened(core, symbols))
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    document_beside(dump).write_text(json.dumps(made.document(), indent=1) + "\n")
    report_beside(dump).write_text("\n".join(lines(made)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
