"""The report and the model's card where parts are missing, hostile or bad news."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.report import figures
from stages.report.page import Difference, differences
from tests.conftest import CLASSES, Project

VOID = {"br", "hr", "img", "input", "link", "meta", "source"}


class Balance(HTMLParser):
    """Follows the tags of a page, and fails where one is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more is open."""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing is left open."""

    def handle_endtag(self, tag: str) -> None:
        """The last that was opened."""
        assert self.open.pop() == tag


def made(project: Project) -> tuple[str, str]:
    """The page and the card of a project, the page being well-formed."""
    result = project.run("report")
    assert result.returncode == 0, result.stderr
    page = (project.folder / "reports/report.html").read_text()
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    return page, (project.folder / "reports/model_card.md").read_text()


def changed(project: Project, name: str, **values: Any) -> None:
    path = project.folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def in_words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_the_verdict_is_one_line_on_the_page_and_on_the_card(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    metrics = json.loads((tiny.folder / "reports/metrics.json").read_text())
    (verdict,) = re.findall(r'<p class="verdict">(.*)</p>', page)
    assert verdict.startswith("A DCGAN of Tiny shapes at 16×16×1: Fréchet distance ")
    assert f"{metrics['fid']:.1f} in the judge&#39;s features; {metrics['modes_covered']} of 4 classes" in verdict
    assert "whether training images are copied cannot be told" in verdict, "80 test images"
    card = (tiny.folder / "reports/model_card.md").read_text()
    assert verdict.replace("&#39;", "'") in card


def test_the_order_is_the_verdict_samples_training_score_reach_copies_failures_data_origin(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    order = ["verdict", "grid", "The training in pictures", "against each other", "which checkpoint", "samples reach"]
    order += ["images copied", "Failures", "Between samples", "their protocol", "The data", "How it came about"]
    body = (
        page[page.index("<body>") :].replace('<p class="verdict">', "verdict").replace('alt="Grid of Samples', "grid")
    )
    places = [body.index(words) for words in order]
    assert places == sorted(places)


def test_copies_are_bad_news_on_the_page_and_on_the_card(tiny_copy: Project) -> None:
    protocol = json.loads((tiny_copy.folder / "reports/metrics.json").read_text())["protocol"]
    protocol["memorization_needs"] = 80
    changed(tiny_copy, "reports/metrics.json", memorization=0.3, memorization_real=0.03, protocol=protocol)
    page, card = made(tiny_copy)
    assert '<p class="answer bad">Yes: samples copy training images.</p>' in page
    said = "or is ten times nearer than they are: 30.0 % of 80 samples do, and 3.0 % of held-out images. Above 6 %"
    assert said in in_words(page)
    assert "(of held-out images: 3.0 %)" in in_words(page)
    assert "; training images are copied;" in page
    assert "- Training images are copied: 30.0 %" in card
    assert "(held-out real images: 3.0 %)" in " ".join(card.split())
    changed(tiny_copy, "reports/metrics.json", memorization=0.06)
    assert '<p class="answer ok">No sign of it.</p>' in made(tiny_copy)[0], "the threshold itself is allowed"
    changed(tiny_copy, "reports/metrics.json", memorization=1.0, memorization_real=0.6)
    page, card = made(tiny_copy)
    why = "the data repeats itself, and more than a quarter of the held-out images look like copies, too"
    assert f'<p class="answer">It cannot be told: {why}.</p>' in page
    assert "the answer is yes" not in page
    assert f"- Whether training images are copied cannot be told ({why}): 100.0 %" in card


def test_a_training_that_diverged_before_its_first_row_has_a_report(tiny_copy: Project) -> None:
    curves = tiny_copy.folder / "reports/train/plots/metrics"
    for name in ("loss", "output"):
        shutil.rmtree(curves / name)
    result = tiny_copy.run("report")
    assert result.returncode == 1
    assert "loss/discriminator.tsv: missing" in result.stderr, "of a training that went well"
    flag = {"images": 64, "kind": "non_finite", "message": "a sample is not finite: the training has diverged"}
    changed(tiny_copy, "models/model.json", flags=[flag])
    page, _ = made(tiny_copy)
    assert "the training has diverged" in page[: page.index("<h2>")]


@pytest.mark.parametrize(
    ("best", "stopped", "said"),
    [(640, "", True), (320, "", False), (640, "ended after 640 images: it diverged", False)],
)
def test_a_training_that_ended_while_its_score_got_better_is_told_so(
    tiny_copy: Project, best: int, stopped: str, said: bool
) -> None:
    changed(tiny_copy, "models/model.json", images_seen=640, best_images_seen=best, stopped=stopped)
    page, _ = made(tiny_copy)
    words = "still getting better when the training ended: more images (train.images) would probably better it"
    assert (words in page[: page.index("<h2>")]) is said


def test_too_few_held_out_images_give_no_answer(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert "It cannot be told: too few images were held out: 80, and it takes 200." in page
    assert "copies of training images: too few images were held out: 80, and it takes 200</span>" in page
    assert "of held-out images: 1 %" not in page
    card = (tiny.folder / "reports/model_card.md").read_text()
    assert (
        "- Whether training images are copied cannot be told (too few images were held out: 80, and it takes 200): "
        in card
    )


def test_a_floor_of_fewer_images_than_samples_is_none(tiny_copy: Project) -> None:
    page, _ = made(tiny_copy)
    assert "80 test images from the training images, fewer than there are samples" in page
    protocol = json.loads((tiny_copy.folder / "reports/metrics.json").read_text())["protocol"]
    changed(tiny_copy, "reports/metrics.json", fid_floor=1.25, protocol={**protocol, "floor_samples": 128})
    page, _ = made(tiny_copy)
    assert page.count("(real images: 1.25)") == 2, "in the verdict and on the tile"
    assert "fewer than there are samples" not in page


def test_ids_are_the_pages_own_and_lead_somewhere(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) != set()
    assert {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)} <= set(ids)


def test_classes_that_are_numbers_are_names(tiny_copy: Project) -> None:
    names = ["0", "01", "1.5", "true"]
    manifest = json.loads((tiny_copy.folder / "data/prepared/manifest.json").read_text())
    (tiny_copy.folder / "data/prepared/manifest.json").write_text(json.dumps(manifest | {"classes": names}))
    for name in ("evaluate/modes", "evaluate/points", "data/classes"):
        path = tiny_copy.folder / f"reports/{name}.csv"
        pd.read_csv(path).replace(dict(zip(CLASSES, names, strict=True))).to_csv(path, index=False)
    page, _ = made(tiny_copy)
    assert page.count(">01<") >= 3


def test_few_test_images_leave_out_what_compares_one_by_one(tiny_copy: Project) -> None:
    path = tiny_copy.folder / "reports/metrics.json"
    metrics = json.loads(path.read_text())
    for name in ("kid", "kid_se", "precision", "recall", "density", "coverage"):
        del metrics[name]
    path.write_text(json.dumps(metrics))
    (tiny_copy.folder / "reports/evaluate/lowest.png").unlink()
    page, card = made(tiny_copy)
    assert "Too few test images for precision and recall" in page
    assert "neighbourhoods" not in card
    assert page.count("<svg") == 5


def test_a_collapsed_run_says_so_first(tiny_copy: Project) -> None:
    flag = {"images": 320, "kind": "generator_collapsed", "message": "one picture for every z"}
    changed(tiny_copy, "models/model.json", flags=[flag])
    page, card = made(tiny_copy)
    assert "; flagged: G collapsed." in page[: page.index("</p>")]
    assert "this is usual and mostly passes" in page
    diverged = {**flag, "kind": "non_finite", "message": "the loss is not finite"}
    changed(tiny_copy, "models/model.json", flags=[flag, diverged])
    assert "this is usual and mostly passes" not in made(tiny_copy)[0]
    assert "generator_collapsed after 320 images" in in_words(page[page.index("Failures") :])
    assert "- Flagged in the training, after 320 images: one picture for every z." in card


HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} | [x](http://evil) `rm` *b* _i_ # $x^2$ \\ 名"


def test_names_from_the_data_are_text_wherever_they_are_shown(tiny_copy: Project) -> None:
    manifest = json.loads((tiny_copy.folder / "data/prepared/manifest.json").read_text())
    manifest["source"] |= {"title": HOSTILE, "licence": HOSTILE, "citation": HOSTILE, "homepage": ""}
    manifest["classes"][0] = HOSTILE
    (tiny_copy.folder / "data/prepared/manifest.json").write_text(json.dumps(manifest))
    for name in ("modes", "points"):
        path = tiny_copy.folder / f"reports/evaluate/{name}.csv"
        pd.read_csv(path).replace("disc", HOSTILE).to_csv(path, index=False)
    page, card = made(tiny_copy)
    for text in (page, card):
        assert "<script" not in text
        assert "{{ 7 * 7 }}" in text.replace("\\", ""), "it is shown, not worked out"
        assert "名" in text
    assert "&lt;script&gt;alert(1)" in page
    assert r"\[x\](http://evil)" in card
    assert "\n# $" not in card


def test_the_card_has_no_empty_field(tiny: Project) -> None:
    card = (tiny.folder / "reports/model_card.md").read_text()
    assert card.startswith("# Tiny · Tiny shapes\n")
    for heading in ("Intended use", "Data and licence", "Metrics", "Limits", "Provenance"):
        assert re.search(rf"\n## {heading}\n\n\S", card)
    assert "Licence: MIT. drawn by the tests." in card
    assert not re.search(r"None|\bnan\b|\.\.|\( |\(\)|, \.|\| +\|", card)
    for line in card.splitlines():
        assert not line.endswith((":", ",", " ")), line


def test_the_nearest_preset_is_named_with_what_differs() -> None:
    used: dict[str, Any] = {"train": {"seed": 0, "images": 8, "box": (1, 2)}, "report": {"title": "x"}}
    near = {"train": {"seed": 0, "images": 9, "box": [1, 2], "other": 1}, "report": {}}
    far = {"train": {"seed": 1, "images": 9, "box": 3}, "validate": {}}
    assert differences(used, {"far": far, "near": near}) == ("near", (Difference("train.images", 9, 8),))
    assert differences(used, {"same": json.loads(json.dumps(used))}) == ("same", ())
    assert differences(used, {}) == ("", ())


def test_the_report_lists_the_params_that_differ(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert re.search(r"Params that differ from <code>presets/\w+\.yaml</code>", page)
    assert re.search(r"train\.generator_channels</th><td><code>\d+</code></td><td><code>4</code>", page)


def test_without_presets_the_report_does_without(tiny_copy: Project) -> None:
    shutil.rmtree(tiny_copy.folder / "presets")
    page, card = made(tiny_copy)
    assert "presets/" not in page + card


@pytest.mark.parametrize("classes", [1, 10, 35, 36, 102])
def test_clusters_are_told_apart_however_many_there_are(classes: int) -> None:
    generator = np.random.default_rng(0)
    names = [f"_class {i} $x$" for i in range(classes)]
    points = pd.DataFrame({"kind": ["real", "generated"] * 300, "class": [names[i // 2 % classes] for i in range(600)]})
    points = points.assign(x=generator.normal(size=600), y=generator.normal(size=600))
    drawn = figures.clusters(points)
    legend = re.findall(r">\u200b?(_class \d+ \$x\$|other classes)<", drawn)
    assert len(legend) == min(classes, 35)
    assert ("other classes" in legend) == (classes > 35)
    assert drawn.count("<use") >= 600
    assert drawn == figures.clusters(points), "the same text every time"


def test_clusters_without_classes_have_no_legend() -> None:
    points = pd.DataFrame({"kind": ["real", "generated"], "class": ["", ""], "x": [0.0, 1.0], "y": [0.0, 1.0]})
    assert "legend" not in figures.clusters(points)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1100])
def test_a_browser_shows_the_page_without_scrolling_sideways(tiny: Project, tmp_path: Path, width: int) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    measure = "<script>document.title = 'w' + document.documentElement.scrollWidth</script></body>"
    framed = tmp_path / "page.html"
    framed.write_text(page.replace("</body>", measure))
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<iframe id="f" src="page.html" style="width:{width}px;height:800px;border:0"></iframe><script>'
        "onload = () => { const d = document.getElementById('f').contentDocument;"
        " document.body.dataset.wide = d.documentElement.scrollWidth;"
        " document.body.dataset.broken = [...d.images].filter(i => !i.naturalWidth).length }</script>"
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--disable-background-networking", f"--user-data-dir={tmp_path}/chromium", "--dump-dom"]
    shown = subprocess.run(
        [*command, f"file://{outer}"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    (wide,) = re.findall(r'data-wide="(\d+)"', shown)
    assert int(wide) <= width
    assert 'data-broken="0"' in shown
