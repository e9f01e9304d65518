# SPDX-License-Identifier: GPL-2.0-or-later
"""The site in a browser: on a phone, in light and dark, and without JavaScript."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.results.coverage import NEVER, Circumstance
from tests.unit.coverage.test_told import put, report
from tests.unit.test_nightly import Bench, bench, carry_out, plan
from tests.unit.test_site import pages, timeline
from tests.unit.test_site_size import events
from tests.unit.test_site_size import seen as drawn
from tests.unit.test_store import judged, write_run

__all__ = ["bench", "plan"]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")

PHONE, TABLET, DESK = WIDTHS = (390, 820, 1400)
"""CSS pixels."""

DEEP = "drivers/gpu/drm/amd/display/dc/dml2_0/display_mode_vba_util_32.c"
"""As long as a path in the kernel gets."""

FRAME = """\
<!doctype html><body><script>
const told = {};
addEventListener("message", event => {
  told[event.data.width] = event.data;
  document.body.dataset.told = JSON.stringify(told);
});
</script>
"""
IFRAME = '<iframe src="{page}" width="{width}" height="800"></iframe>'

TELL = """\
<script>parent.postMessage({
  width: innerWidth,
  wide: document.documentElement.scrollWidth,
  back: getComputedStyle(document.body).backgroundColor,
  text: getComputedStyle(document.body).color,
  drawn: [...document.querySelectorAll("svg")].every(svg => svg.getBoundingClientRect().width > 0),
  plots: document.querySelectorAll("svg.plot").length,
  maps: document.querySelectorAll("svg.map").length,
  lanes: document.querySelectorAll("svg.lanes").length,
}, "*")</script>
"""


def chromium(place: Path, page: Path, *options: str) -> str:
    """What Chromium prints, with a profile of its own."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={place / 'chromium'}", "--virtual-time-budget=3000", *options,
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout


def told(site: Path, name: str, *options: str) -> dict[int, dict[str, Any]]:
    """What the page is like, by the width of its frame."""
    telling = site / f"telling-{name}"
    telling.write_text((site / name).read_text() + TELL)
    frame = site / "frame.html"
    frames = (IFRAME.format(page=telling.name, width=width) for width in WIDTHS)
    frame.write_text(FRAME + "".join(frames))
    dom = chromium(site, frame, "--dump-dom", *options)
    found = re.search('data-told="([^"]*)"', dom)
    assert found, dom
    document = json.loads(found[1].replace("&quot;", '"'))
    assert set(document) == set(map(str, WIDTHS))
    return {int(width): seen for width, seen in document.items()}


@pytest.fixture
def site(tmp_path: Path, bench: Bench, plan: Any) -> Path:
    """A night's pages, and those of a run with a wide matrix, on a kernel with a series that
    counts, and of one of conformance."""
    bench.failing = "debian-sid"
    carry_out(plan)
    actions = ("resume", "eio", "enospc", "torn", "corrupt", "delay", "kill", "power-cut")
    cells = [
        drawn(3 * k, k == 2)
        | judged(f"write:{k} {action}", "violated" if action == "torn" else "holds", "PREFIX")
        | {"number": 8 * k + place}
        for k in range(1, 5)
        for place, action in enumerate(actions)
    ]
    matrix = write_run(1, cells, boot=4.5)
    found = report(NEVER, Circumstance.PLAIN, Circumstance.FAULT)
    lines = tuple(line.model_copy(update={"file": DEEP}) for line in found.series)
    put(matrix, found.model_copy(update={"series": lines}))
    timeline(matrix, *(event for number in range(8, 40) for event in events(number)))
    both = [
        judged("write:1 eio", "violated", "PREFIX") | {"path": path}
        for path in ("loop-reflink", "nvme-copy")
    ]
    write_run(2, both, suite="conformance")
    pages(tmp_path, matrix, "20261124-000002-0002")
    return tmp_path


def luminance(colour: str) -> float:
    """0 for black, 1 for white."""
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_page_fits_a_phone_and_reads_in_light_and_dark(site: Path) -> None:
    run = "20261124-000001-0001"
    # The pages of cases are all alike: one that failed will do.
    cases = {path.name for path in site.glob("*.*.html")} - {f"{run}.11.html"}
    for page in sorted({path.name for path in site.glob("*.html")} - cases):
        for scheme in (0, 1):
            for width, seen in told(
                site, page, f"--blink-settings=preferredColorScheme={scheme}"
            ).items():
                assert seen["wide"] <= width, (page, width)
                assert seen["drawn"], page
                back, text = luminance(seen["back"]), luminance(seen["text"])
                assert (back > 0.9 and text < 0.2) if scheme else (back < 0.1 and text > 0.7)
                if page == f"{run}.html":
                    assert seen["plots"] == 2
                if page == f"{run}.11.html":
                    assert (seen["maps"], seen["lanes"]) == (2, 1)


def test_without_javascript_it_looks_the_same(site: Path) -> None:
    """A policy in the page itself keeps Chromium from running any."""
    page = site / "20261124-000001-0001.html"
    forbidding = site / "without.html"
    policy = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    forbidding.write_text(page.read_text().replace("<head>", f"<head>{policy}"))
    assert policy in forbidding.read_text()
    shots = []
    for each in (page, forbidding):
        shot = site / f"{each.stem}.png"
        chromium(site, each, f"--screenshot={shot}", "--window-size=900,1200")
        shots.append(shot.read_bytes())
    assert shots[0] == shots[1]
    # Something was drawn: an empty page is a few kilobytes.
    assert len(shots[0]) > 30_000
