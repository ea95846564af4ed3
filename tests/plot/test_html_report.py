"""The report: one file, safe whatever the files are called, and drawn by a real browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from pyhandpose.plot.html_report import Card, HandView, html_report


@pytest.fixture
def card():
    rng = np.random.default_rng(0)
    hand = HandView("right", rng.uniform(0, 90, (21, 2)), rng.normal(0, 50, (21, 3)), ("a fact",))
    flat = HandView("left", rng.uniform(0, 90, (21, 2)), np.full((21, 3), np.nan), ())
    image = rng.integers(0, 255, (90, 120, 3)).astype(np.uint8)
    return Card.of("</script><b>photo & co", image, (hand, flat))


def data_of(page):
    return json.loads(re.search(r"^const DATA = (.*);$", page, re.MULTILINE)[1])


def test_the_page_holds_everything_and_fetches_nothing(card):
    page = html_report([card, card], "runs/<model>")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)
    assert "default-src 'none'" in page
    assert "runs/&lt;model&gt;" in page
    assert "2 photos" in page
    data = data_of(page)
    assert [c["title"] for c in data["cards"]] == ["</script><b>photo & co"] * 2
    first, second = data["cards"][0]["hands"]
    np.testing.assert_allclose(first["points"], card.hands[0].joints_img_px, atol=6e-3)
    np.testing.assert_allclose(first["mm"], card.hands[0].joints_mm, atol=6e-3)
    assert second["mm"] == [[None] * 3] * 21
    assert data["cards"][0]["size"] == [120, 90]
    assert page.count("</script>") == 1  # its own


def test_what_is_left_out_is_said(card):
    assert "1 photo, the first 1 of 8" in html_report([card], "m", left_out=7)


def test_large_photos_are_reduced():
    rng = np.random.default_rng(0)
    hand = HandView("right", rng.uniform(0, 90, (21, 2)), rng.normal(0, 50, (21, 3)), ())
    large = Card.of("large", np.zeros((3000, 4000, 3), np.uint8), (hand,))
    assert large.size == (4000, 3000)
    assert len(large.jpeg) < 50_000


def test_joints_of_another_shape_are_refused():
    hand = HandView("right", np.zeros((20, 2)), np.zeros((21, 3)), ())
    with pytest.raises(ValueError, match=r"\(20, 2\)"):
        Card.of("x", np.zeros((9, 9, 3), np.uint8), (hand,))


def test_a_browser_draws_it(card, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    file = tmp_path / "report.html"
    # the page's own script puts what it has drawn where --dump-dom shows it
    probe = """<script>
      addEventListener("error", e => document.title = "error: " + e.message);</script>"""
    after = """<script>setTimeout(() => { const c = document.querySelector("canvas");
      const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      c.setAttribute("data-ink", d.reduce((n, v) => n + (v > 0), 0)); }, 200);</script>"""
    page = html_report([card, card], "model")
    file.write_text(
        page.replace("<style>", probe + "<style>", 1).replace("</body>", after + "</body>")
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert "<title>Hand poses</title>" in dom  # no error
    assert dom.count("<article>") == 2
    assert dom.count("<line ") == 2 * 2 * 20  # bones and their dark edges, of the hand chosen
    assert dom.count("<circle ") == 2 * 21
    assert int(re.search(r'data-ink="(\d+)"', dom)[1]) > 1000  # the skeleton is on the canvas
