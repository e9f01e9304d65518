"""The lab's own exerciser on the reference model, whose lower file system is shut down."""

import errno
import json

from tests.boot.conftest import Lab


def test_a_shutdown_below_loses_nothing_that_was_fsynced_or_is_told(lab: Lab) -> None:
    done = lab(
        "run", "loop-xfs-reflink", "fsx", "--json", "--",
        "--seed", "1", "--cases", "2", "--ops", "100", "--shutdown", "xfs",
        deadline=900,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert [(case["name"], case["status"]) for case in run["cases"]] == [
        ("seed-1", "pass"), ("seed-2", "pass"),
    ]  # fmt: skip
    for case in run["cases"]:
        (log,) = case["files"]
        lines = (lab.state / "lab/runs" / run["run"] / log).read_text().splitlines()
        errors = [json.loads(line)["answer"]["errno"] for line in lines]
        # It worked until it was shut down, but for what ext4 does not offer, and then it did not:
        # so that there was a loss to judge.
        assert set(errors[:50]) <= {0, errno.EOPNOTSUPP}
        assert errno.EIO in errors[50:]
