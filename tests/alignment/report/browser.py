"""A page in a headless Chromium: how high it is, what sticks out of it, which tables are cut, what is drawn."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; install one to see the page in a browser"),
]
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_MEASURE = """<script>
addEventListener("load", () => {
  const height = document.documentElement.scrollHeight;  // details folded, as a reader meets it
  document.querySelectorAll("details").forEach(e => { e.open = true; });
  const width = document.documentElement.clientWidth;
  const inScroller = e => e.closest(".scroll, svg") !== null;
  const outside = [...document.querySelectorAll("main *")]
    .filter(e => !inScroller(e) && e.getBoundingClientRect().right > width + 1)
    .map(e => e.tagName + "." + e.className);
  const cut = [...document.querySelectorAll(".scroll:has(table)")]
    .filter(e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
    .map(e => e.getAttribute("aria-label"));
  const visible = e => e.getBoundingClientRect().width > 0;
  const drawings = [...document.querySelectorAll("svg.drawing")].filter(visible).map(svg => {
    const painted = [...svg.querySelectorAll("path, rect, use")].filter(e => {
      const box = e.getBoundingClientRect(), style = getComputedStyle(e);
      const hue = e.getAttribute("style") || "";
      return hue.includes("--series-") && box.width + box.height > 2 && style.visibility === "visible";
    });
    const box = svg.getBoundingClientRect();
    return { width: box.width, height: box.height, painted: painted.length };
  });
  const result = { width, scroll: document.documentElement.scrollWidth, outside, drawings, cut, height,
    title: document.title };
  document.body.dataset.measured = JSON.stringify(result);
});
</script>"""


def measured(html: str, folder: Path, *, width: int) -> dict[str, Any]:
    """Show the page in a frame of this width (a headless window has a least width) and measure it there."""
    inner, outer = folder / "inner.html", folder / "outer.html"
    page, times = _POLICY.subn(_MEASURE, html)  # a test's own copy: the real page allows no script
    assert times == 1
    inner.write_text(page, encoding="utf-8")
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
    result: dict[str, Any] = json.loads(unescape(found.group(1)))
    return result
