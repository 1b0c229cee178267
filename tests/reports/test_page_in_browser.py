"""The pages in a real browser at phone width: nothing reaches beyond the screen."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from medimg.cli.main import run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
]
PHONE_PX = 390
# what a page measures of itself, told to the page around it; scrolling tables may be wider
MEASURE = """<script>onload = () => parent.postMessage([
  document.documentElement.scrollWidth, innerWidth,
  [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre, .skip")
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 150))
], "*")</script></body>"""
AROUND = """<body><pre id="told"></pre><iframe src="in.html" width="{width}" height="900"></iframe>
<script>onmessage = e => document.getElementById("told").textContent = JSON.stringify(e.data)
</script>"""


def measured(page: Path, folder: Path) -> tuple[int, int, list[str]]:
    """(width of the content, width of the screen, what sticks out) at phone width."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    (folder / "in.html").write_text(text.replace("</body>", MEASURE))
    (folder / "out.html").write_text(AROUND.format(width=PHONE_PX))
    command = [str(BROWSER), "--headless", "--no-sandbox", "--virtual-time-budget=5000"]
    told = subprocess.run(
        [*command, "--dump-dom", f"file://{folder}/out.html"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.search(r'<pre id="told">(.*?)</pre>', told, re.S)
    assert found and found[1], told[:500]
    width, screen, beyond = json.loads(html.unescape(found[1]))
    return width, screen, beyond


@pytest.fixture(scope="module")
def folders(phantoms, tmp_path_factory) -> list[Path]:
    """Two evaluated runs with long names and their comparison."""
    out = tmp_path_factory.mktemp("pages")
    names = [f"20261121T151404-train-logistic-a_rather_long_name-{n}" for n in range(2)]
    fast = ("--backend", "linear", "--image-size", "32", "--epochs", "3", "--no-progress", "-q")
    for seed, name in enumerate(names):
        line = ["train", str(phantoms), *fast, "--seed", str(seed), "--name", name]
        assert run([*line, "--out", str(out)]) == 0
        assert run(["evaluate", str(out / name), "--resamples", "200", "-q"]) == 0
    runs = [str(out / name) for name in names]
    assert run(["compare", *runs, "--out", str(out), "--name", "both", "-q"]) == 0
    return [out / names[0], out / "both"]


@pytest.mark.parametrize("language", ["en", "es"])
def test_nothing_scrolls_sideways_on_a_phone(folders, language, tmp_path):
    for folder in folders:
        assert run(["report", str(folder), "--lang", language, "-q"]) == 0
        page = folder / ("report.html" if language == "en" else "report.es.html")
        width, screen, beyond = measured(page, tmp_path)
        assert screen == PHONE_PX
        assert beyond == [] and width <= screen
