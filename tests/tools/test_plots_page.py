"""tools/plots_page.py: the page of `dvc plots` draws without a network, each file once."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.browser import chromium
from stages import png
from tests.conftest import dvc
from tests.git_project import run_tool

PIPELINE = """
stages:
  train:
    cmd: "true"
    plots:
      - reports:
          cache: false
plots:
  - reports/score.csv:
      x: step
      y: score
      title: The score
"""


@pytest.fixture
def drawn(git_project: Path) -> Path:
    """The page of a project with a curve that dvc.yaml names, another one, numbers without rows, and a picture."""
    reports = git_project / "reports"
    reports.mkdir(exist_ok=True)
    for name in ("score", "loss"):
        (reports / f"{name}.csv").write_text(f"step,{name}\n1,3\n2,1\n")
    (reports / "metrics.json").write_text('{"fid": 1.0}')
    png.save_png(np.zeros((4, 4, 1), np.uint8), reports / "grid.png", 1)
    (git_project / "dvc.yaml").write_text(PIPELINE)
    done = run_tool("plots_page", git_project, ".dvc/tmp/page.html")
    assert done.returncode == 0, done.stderr
    dvc(git_project, "plots", "show")
    return git_project / "dvc_plots/index.html"


def test_the_page_loads_no_script_from_the_network(drawn: Path) -> None:
    page = drawn.read_text()
    assert len(page) > 500_000, "Vega is inside"
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=\"(https?:)?//", page)
    assert not re.search(r"\{(scripts|plot_divs|refresh_tag)\}", page)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_without_a_network_draws_each_file_once(drawn: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="make test-slow installs playwright")
    with chromium() as browser:
        page = browser.new_context(offline=True).new_page()
        page.goto(drawn.as_uri())
        page.wait_for_selector("#reports_loss_csv .marks")
        figures = page.locator("body > div[id]:visible")
        shown = {figure.get_attribute("id"): figure.locator(".marks, img").count() for figure in figures.all()}
    assert shown == {"dvc_yaml__reports_score_csv": 1, "reports_loss_csv": 1, "reports_grid_png": 1}
