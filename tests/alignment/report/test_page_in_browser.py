"""The page in a real browser: it fits wide and narrow windows, draws its figures, runs nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from alignment.report.as_html import to_html
from alignment.report.blocks import Exchange, Report, Section, SideBySide

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; install one to see the page in a browser"),
]
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_MEASURE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(e => { e.open = true; });
  const width = document.documentElement.clientWidth;
  const inScroller = e => e.closest(".scroll, svg") !== null;
  const outside = [...document.querySelectorAll("main *")]
    .filter(e => !inScroller(e) && e.getBoundingClientRect().right > width + 1)
    .map(e => e.tagName + "." + e.className);
  const drawings = [...document.querySelectorAll("svg.drawing")].map(svg => {
    const painted = [...svg.querySelectorAll("path, rect, use")].filter(e => {
      const box = e.getBoundingClientRect(), style = getComputedStyle(e);
      const hue = e.getAttribute("style") || "";
      return hue.includes("--series-") && box.width + box.height > 2 && style.visibility === "visible";
    });
    const box = svg.getBoundingClientRect();
    return { width: box.width, height: box.height, painted: painted.length };
  });
  const result = { width, scroll: document.documentElement.scrollWidth, outside, drawings, title: document.title };
  document.body.dataset.measured = JSON.stringify(result);
});
</script>"""


def _open(html: str, folder: Path, *, width: int) -> dict:
    """Show the page in a frame of this width (a headless window has a least width) and measure it there."""
    inner, outer = folder / "inner.html", folder / "outer.html"
    measured, times = _POLICY.subn(_MEASURE, html)  # a test's own copy: the real page allows no script
    assert times == 1
    inner.write_text(measured, encoding="utf-8")
    outer.write_text(
        f'<body style="margin:0"><iframe id="f" src="inner.html" style="border:0;width:{width}px;height:900px">'
        "</iframe><script>addEventListener('load', () => { document.body.dataset.measured = "
        "document.getElementById('f').contentDocument.body.dataset.measured; });</script></body>",
        encoding="utf-8",
    )
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000",
        "--virtual-time-budget=3000", "--dump-dom", outer.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r'data-measured="([^"]*)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    return json.loads(unescape(found.group(1)))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window_and_every_figure_draws(sample_report: Report, tmp_path: Path, width: int) -> None:
    seen = _open(to_html(sample_report), tmp_path, width=width)
    assert width - 20 <= seen["width"] <= width  # a scroll bar may take some
    assert seen["outside"] == []
    assert seen["scroll"] <= seen["width"]
    assert len(seen["drawings"]) == 7
    for drawing in seen["drawings"]:
        assert drawing["painted"] > 0
        assert min(drawing["width"], 2 * drawing["height"]) > 200


def test_a_very_long_word_does_not_widen_a_narrow_page(tmp_path: Path) -> None:
    word = "Donaudampfschifffahrt" * 40
    turn = (Exchange(role="user", text=word),)
    block = SideBySide(title=word, prompt=turn, answers=((word, word, {word: 0.5}), ("sft", word, {})))
    section = Section(id="s", title=word, blocks=(block,))
    report = Report(title=word, subtitle=word, facts=((word, word),), sections=(section,))
    seen = _open(to_html(report), tmp_path, width=390)
    assert seen["outside"] == []
    assert seen["scroll"] <= seen["width"]


def test_no_text_runs_even_where_no_policy_holds_it_back(tmp_path: Path) -> None:
    run = "document.title='taken over'"
    texts = (f"<script>{run}</script>", f'"><img src=x onerror="{run}">', f"</title></style><svg onload={run}>")
    blocks = tuple(
        SideBySide(title=text, prompt=(Exchange(role=text, text=text),), answers=((text, text, {text: 0.5}),))
        for text in texts
    )
    report = Report(title="safe", sections=(Section(id=texts[0], title=texts[1], summary=texts[2], blocks=blocks),))
    assert _open(to_html(report), tmp_path, width=1280)["title"] == "safe"
