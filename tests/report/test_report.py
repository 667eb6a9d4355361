"""stages/report: the page and the model card, also with missing parts, hostile names and bad results."""

import html
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
import yaml

from stages.artifacts import sha256
from stages.metrics import files
from stages.metrics.catalog import METRICS
from stages.report import figures, losses, metric_table
from stages.report.contents import Difference, compare_with_presets
from stages.report.front_matter import license_keys
from stages.report.recipe import recipe
from stages.train.losses.catalog import LOSSES
from tests.conftest import CLASSES, ROOT, Project, metrics_of

VOID = {"br", "hr", "img", "input", "link", "meta", "source"}


class Balance(HTMLParser):
    """Tracks the open tags of a page. Fails if an end tag does not match the last open tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Push the tag."""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore the tag: it closes itself."""

    def handle_endtag(self, tag: str) -> None:
        """Pop the tag, which must be the last one opened."""
        assert self.open.pop() == tag


def rendered(project: Project) -> tuple[str, str]:
    """The page and the card of a project; checks that the page is well-formed."""
    result = project.run("report")
    assert result.returncode == 0, result.stderr
    page = (project.folder / "reports/report.html").read_text()
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    return page, (project.folder / "reports/model_card.md").read_text()


def front_matter(card: str) -> dict[str, Any]:
    """The YAML between the first two lines of a model card that are `---`."""
    start, yaml_text, _ = card.split("---\n", 2)
    assert start == ""
    values = yaml.safe_load(yaml_text)
    assert isinstance(values, dict)
    return values


def change(project: Project, name: str, **values: Any) -> None:
    """Set values in a JSON file of a project."""
    path = project.folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_metrics(project: Project, protocol: dict[str, Any] | None = None, **metrics: Any) -> None:
    """Set metrics and conditions of their measurement, each in its file."""
    for name, values in zip(files.FILES, (*files.split(metrics), protocol or {}), strict=True):
        change(project, name, **values)


def remove_metrics(project: Project, *names: str) -> None:
    """Remove metrics from their files."""
    for path in (project.folder / name for name in files.FILES):
        kept = {name: value for name, value in json.loads(path.read_text()).items() if name not in names}
        path.write_text(json.dumps(kept))


def in_words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_the_verdict_is_one_line_on_the_page_and_on_the_card(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    metrics = metrics_of(tiny.folder)
    (verdict,) = re.findall(r'<p class="verdict">(.*)</p>', page)
    assert verdict.startswith("A DCGAN of Tiny shapes at 16×16×1: Fréchet distance ")
    assert (
        f"{metrics['fid']:.1f} in the judge&#39;s features; {metrics['modes_covered']} of 4 classes covered" in verdict
    )
    assert "whether training images are copied cannot be decided" in verdict, "the tiny data repeats itself"
    card = (tiny.folder / "reports/model_card.md").read_text()
    assert verdict.replace("&#39;", "'") in card


def test_the_page_answers_the_readers_questions_in_order(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    order = ["verdict", "numbers", "grid", "Training in pictures", "chosen checkpoint"]
    order += ["Generator against discriminator"]
    order += ["samples cover", "images copied", "Failures", "Between samples", "their protocol", "The data"]
    order += ["How to reproduce"]
    body = page[page.index("</nav>") :]
    for place, name in (
        ('<p class="verdict">', "verdict"),
        ('<ul class="numbers">', "numbers"),
        ('alt="Grid of S', "grid"),
    ):
        body = body.replace(place, name)
    places = [body.index(words) for words in order]
    assert places == sorted(places)


def test_copied_training_images_are_reported_on_the_page_and_on_the_card(tiny_copy: Project) -> None:
    shares: dict[str, Any] = {"memorization": 0.3, "memorization_low": 0.211, "memorization_high": 0.408}
    change_metrics(tiny_copy, **shares, memorization_real=0.03)
    page, card = rendered(tiny_copy)
    assert '<p class="answer bad">Yes: samples copy training images.</p>' in page
    words = in_words(page)
    assert "Here 30.0 % of 80 samples (95 % interval 21.1 % to 40.8 %) count, and 3.0 % of the new real images" in words
    assert "images, which are 320 training images, each compared with the others, because there are" in words
    assert "The answer is yes if more than 6 % of the samples count" in words
    assert "(95 % interval 21.1 % to 40.8 %; training images: 3.0 %)" in words
    assert "; training images are copied;" in page
    assert "- Training images are copied: 30.0 %" in card
    assert "(95 % interval 21.1 % to 40.8 %; training images: 3.0 %)" in " ".join(card.split())
    change_metrics(tiny_copy, memorization=0.06)
    assert '<p class="answer ok">No sign of it.</p>' in rendered(tiny_copy)[0], "the threshold itself is allowed"
    change_metrics(tiny_copy, memorization=1.0, memorization_real=0.6)
    page, card = rendered(tiny_copy)
    why = "the data repeats itself, and more than a quarter of the training images look like copies as well"
    assert f'<p class="answer">Cannot be decided: {why}.</p>' in page
    assert "the answer is yes" not in page
    assert f"- Whether training images are copied cannot be decided ({why}): 100.0 %" in card


def test_a_share_that_can_be_chance_is_not_a_verdict(tiny_copy: Project) -> None:
    metrics = metrics_of(tiny_copy.folder)
    protocol = metrics["protocol"] | {"memorization_samples": 20}
    change_metrics(tiny_copy, memorization=0.1, memorization_real=0.01, protocol=protocol)
    page, _ = rendered(tiny_copy)
    why = "more samples look like copies than should, but 20 samples are so few that this can be chance"
    assert f'<p class="answer">Cannot be decided: {why}.</p>' in page


def test_the_report_names_held_out_images_if_there_are_enough(tiny_copy: Project) -> None:
    metrics = metrics_of(tiny_copy.folder)
    protocol = metrics["protocol"] | {"memorization_real": "held-out images", "memorization_real_images": 1000}
    change_metrics(tiny_copy, memorization_real=0.01, protocol=protocol)
    page, card = rendered(tiny_copy)
    assert "1.0 % of the new real images, which are 1,000 held-out images." in in_words(page)
    assert "; held-out images: 1.0 %)" in card


def test_the_report_says_why_there_is_no_precision(tiny_copy: Project) -> None:
    remove_metrics(tiny_copy, "precision", "density")
    change(tiny_copy, "models/features/features.json", flattered=["blur", "noise"])
    for text in map(in_words, rendered(tiny_copy)):
        assert "Precision and density are not measured: blur and noise do not lower" in text


def test_a_judge_that_replaces_another_one_is_named_first_on_the_page_and_on_the_card(tiny_copy: Project) -> None:
    rejected = {"judge": "it does not see noise in 80 images"}
    features = "models/features/features.json"
    change(tiny_copy, features, network="judge_unlabelled", rejected=rejected, clusters=[0.25] * 4)
    page, card = rendered(tiny_copy)
    for text in (in_words(page[: page.index('<ul class="numbers">')]), in_words(card[: card.index("## Intended")])):
        assert "The judge of the labels is not used: it does not see noise in 80 images." in text
        assert "The judge without labels replaces it, and clusters replace the classes." in text
    assert "of 4 clusters covered" in page


def test_a_training_that_diverged_at_once_has_a_report(tiny_copy: Project) -> None:
    curves = tiny_copy.folder / "reports/train/plots/metrics"
    for name in ("loss", "output", "overfitting"):
        shutil.rmtree(curves / name)
    result = tiny_copy.run("report")
    assert result.returncode == 1
    assert "loss/discriminator.tsv: missing" in result.stderr, "the training did not diverge"
    flag = {"images": 64, "kind": "non_finite", "message": "a sample is not finite: training has diverged"}
    change(tiny_copy, "models/model.json", flags=[flag])
    page, _ = rendered(tiny_copy)
    assert "training has diverged" in page[: page.index("<h2>")]


@pytest.mark.parametrize(
    ("measure", "answer"),
    [(0.1, "No sign of it."), (0.4, "Partly."), (0.7, "Yes: it has learned the training images by heart.")],
)
def test_the_report_says_whether_the_discriminator_knows_the_training_images_by_heart(
    tiny_copy: Project, measure: float, answer: str
) -> None:
    change(tiny_copy, "models/model.json", best_images_seen=640)
    curve = tiny_copy.folder / "reports/train/plots/metrics/overfitting/measure.tsv"
    curve.write_text(f"step\tmeasure\n320\t0.5\n640\t{measure}\n")
    page, _ = rendered(tiny_copy)
    section = page[page.index("Does the discriminator know the training images by heart?") :]
    assert f">{answer}</p>" in section[: section.index("<h2>")]
    assert f"its over-fitting is {measure:.2f}." in section
    assert section.count("<svg") - section[section.index("<h2>") :].count("<svg") == 1


def test_the_curve_of_an_adaptive_probability_is_in_the_report(tiny_copy: Project) -> None:
    curve = tiny_copy.folder / "reports/train/plots/metrics/augment/probability.tsv"
    curve.parent.mkdir()
    curve.write_text("step\tprobability\n320\t0.0\n640\t0.4\n")
    page, _ = rendered(tiny_copy)
    assert "Lines of the over-fitting and of the augmentation&#39;s probability over images seen" in page


@pytest.mark.parametrize(
    ("best", "stopped", "noted"),
    [(640, "", True), (320, "", False), (640, "ended after 640 images: it diverged", False)],
)
def test_a_training_that_ended_while_its_score_improved_has_a_note(
    tiny_copy: Project, best: int, stopped: str, noted: bool
) -> None:
    change(tiny_copy, "models/model.json", images_seen=640, best_images_seen=best, stopped=stopped)
    page, _ = rendered(tiny_copy)
    words = "still improving when training ended. More images (train.images) may improve it further."
    assert (words in page[: page.index("<h2>")]) is noted


def test_the_model_that_training_started_from_is_named(tiny_copy: Project) -> None:
    origin = {"start_from": "v1", "commit": "c" * 40, "data_title": "Faces & <cats>"}
    hashes = {f"{name}_sha256": name for name in ("generator", "discriminator", "data_manifest")}
    change(tiny_copy, "models/model.json", start_from=origin | hashes)
    page, card = rendered(tiny_copy)
    assert f"<code>v1</code> (commit {'c' * 40}), trained on Faces &amp; &lt;cats&gt;" in page
    assert f"- Training started from the model v1 (commit `{'c' * 40}`), trained on" in card


def test_data_that_repeats_itself_gives_no_verdict_on_copies(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    why = "the data repeats itself, and more than a quarter of the training images look like copies as well"
    assert f"Cannot be decided: {why}." in page
    assert f"samples that look like copies: {why}</span>" in page
    assert "The answer is yes if" not in page
    card = (tiny.folder / "reports/model_card.md").read_text()
    assert f"- Whether training images are copied cannot be decided ({why}): " in card


def test_a_floor_measured_with_fewer_images_than_samples_is_not_shown(tiny_copy: Project) -> None:
    page, _ = rendered(tiny_copy)
    assert "80 test images from the training images; there are fewer test images than samples" in page
    protocol = metrics_of(tiny_copy.folder)["protocol"]
    change_metrics(tiny_copy, fid_floor=1.25, protocol={**protocol, "floor_samples": 128})
    page, _ = rendered(tiny_copy)
    assert page.count("(real images: 1.25)") == 2, "in the verdict and on the tile"
    assert "fewer test images than samples" not in page


def test_ids_are_unique_and_every_reference_has_its_id(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) != set()
    assert {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)} <= set(ids)


def test_classes_named_like_numbers_keep_their_names(tiny_copy: Project) -> None:
    names = ["0", "01", "1.5", "true"]
    manifest = json.loads((tiny_copy.folder / "data/prepared/manifest.json").read_text())
    (tiny_copy.folder / "data/prepared/manifest.json").write_text(json.dumps(manifest | {"classes": names}))
    for name in ("evaluate/modes", "evaluate/points", "data/classes"):
        path = tiny_copy.folder / f"reports/{name}.csv"
        pd.read_csv(path).replace(dict(zip(CLASSES, names, strict=True))).to_csv(path, index=False)
    page, _ = rendered(tiny_copy)
    assert page.count(">01<") >= 3


def test_the_page_says_that_test_images_are_too_few_for_precision_and_recall(tiny_copy: Project) -> None:
    remove_metrics(tiny_copy, "kid", "kid_se", "precision", "recall", "density", "coverage")
    (tiny_copy.folder / "reports/evaluate/lowest.png").unlink()
    page, card = rendered(tiny_copy)
    assert "There are too few test images for precision and recall" in page
    assert "neighbourhoods" not in card
    assert page.count("<svg") == 7


def test_a_flagged_training_is_reported_first(tiny_copy: Project) -> None:
    flag = {"images": 320, "kind": "generator_collapsed", "message": "one picture for every z"}
    change(tiny_copy, "models/model.json", flags=[flag])
    page, card = rendered(tiny_copy)
    assert "; flagged: generator collapsed." in page[: page.index("</p>")]
    assert "This is common early in training" in page
    diverged = {**flag, "kind": "non_finite", "message": "the loss is not finite"}
    change(tiny_copy, "models/model.json", flags=[flag, diverged])
    assert "This is common early in training" not in rendered(tiny_copy)[0]
    assert "generator collapsed after 320 images" in in_words(page[page.index("Failures") :])
    assert "- Flagged during training, after 320 images: one picture for every z." in card


HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }} | [x](http://evil) `rm` *b* _i_ # $x^2$ \\ 名"


def test_names_from_the_data_are_shown_as_text(tiny_copy: Project) -> None:
    manifest = json.loads((tiny_copy.folder / "data/prepared/manifest.json").read_text())
    manifest["source"] |= {"title": HOSTILE, "licence": HOSTILE, "citation": HOSTILE, "homepage": ""}
    manifest["classes"][0] = HOSTILE
    (tiny_copy.folder / "data/prepared/manifest.json").write_text(json.dumps(manifest))
    for name in ("modes", "points"):
        path = tiny_copy.folder / f"reports/evaluate/{name}.csv"
        pd.read_csv(path).replace("disc", HOSTILE).to_csv(path, index=False)
    page, card = rendered(tiny_copy)
    for text in (page, card):
        assert "<script" not in text
        assert "{{ 7 * 7 }}" in text.replace("\\", ""), "shown, not evaluated"
        assert "名" in text
    assert "&lt;script&gt;alert(1)" in page
    assert r"\[x\](http://evil)" in card
    assert "\n# $" not in card
    facts = front_matter(card)
    assert facts["model-index"][0]["name"] == f"Tiny · {HOSTILE}"
    assert facts["provenance"]["data"]["citation"] == HOSTILE
    assert facts["license"] == "other"


def test_the_card_has_no_empty_field(tiny: Project) -> None:
    card = (tiny.folder / "reports/model_card.md").read_text()
    text = card.split("---\n", 2)[2]
    assert text.startswith("# Tiny · Tiny shapes\n")
    for heading in ("Intended use", "Data and licence", "Metrics", "Limits", "Provenance"):
        assert re.search(rf"\n## {heading}\n\n\S", text)
    assert "Licence: MIT. drawn by the tests." in text
    assert not re.search(r"None|\bnan\b|\.\.|\( |\(\)|, \.|\| +\|", text)
    for line in text.splitlines():
        assert not line.endswith((":", ",", " ")), line


def test_the_front_matter_has_the_keys_of_the_hub(tiny: Project) -> None:
    facts = front_matter((tiny.folder / "reports/model_card.md").read_text())
    metrics = metrics_of(tiny.folder)
    assert facts["license"] == "mit"
    assert facts["library_name"] == "keras"
    assert facts["pipeline_tag"] == "unconditional-image-generation"
    assert "dcgan" in facts["tags"]
    assert facts["metrics"] == [name for name in metrics if name in METRICS and METRICS[name].headline]
    (entry,) = facts["model-index"]
    (result,) = entry["results"]
    assert result["task"]["type"] == "unconditional-image-generation"
    assert result["dataset"] == {"type": "tiny", "name": "Tiny shapes"}
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        name: value for name, value in metrics.items() if name != "protocol"
    }


def test_the_hubs_own_library_reads_the_card(tiny: Project) -> None:
    library = pytest.importorskip("huggingface_hub", reason="the extra .[hf] is not installed")
    data = library.ModelCard((tiny.folder / "reports/model_card.md").read_text()).data
    fid = next(result for result in data.eval_results if result.metric_type == "fid")
    metrics = metrics_of(tiny.folder)
    assert (data.license, data.model_name) == ("mit", "Tiny · Tiny shapes")
    assert (fid.dataset_name, fid.metric_value) == ("Tiny shapes", metrics["fid"])


def test_the_front_matter_has_the_provenance_of_the_model(tiny: Project) -> None:
    provenance = front_matter((tiny.folder / "reports/model_card.md").read_text())["provenance"]
    model = json.loads((tiny.folder / "models/model.json").read_text())
    for name in ("generator", "discriminator"):
        assert provenance[f"{name}_sha256"] == sha256(tiny.folder / f"models/{name}.keras")
    assert provenance["manifest_sha256"] == sha256(tiny.folder / "data/prepared/manifest.json")
    assert provenance["shape"] == [16, 16, 1]
    assert provenance["checkpoint"] == {"images_seen": model["best_images_seen"], "of": 640}
    assert provenance["params"]["train.generator.channels"] == 4
    assert provenance["environment"] == model["environment"]


@pytest.mark.parametrize(
    ("licence", "keys"),
    [
        ("MIT", {"license": "mit"}),
        ("CC BY-SA 3.0", {"license": "cc-by-sa-3.0"}),
        ("CC0 1.0", {"license": "cc0-1.0"}),
        ("all rights reserved", {"license": "other", "license_name": "all-rights-reserved"}),
        ("not stated", {"license": "other", "license_name": "not-stated", "license_link": "http://localhost/"}),
    ],
)
def test_a_licence_is_the_hubs_identifier_or_other(licence: str, keys: dict[str, str]) -> None:
    assert license_keys(licence, keys.get("license_link", "")) == keys


@pytest.mark.parametrize(("name", "data_sets"), [("fashion_mnist", ["zalando-datasets/fashion_mnist"]), ("own", None)])
def test_a_data_set_of_the_hub_is_named(tiny_copy: Project, name: str, data_sets: list[str] | None) -> None:
    manifest = json.loads((tiny_copy.folder / "data/prepared/manifest.json").read_text())
    manifest["source"]["name"] = name
    (tiny_copy.folder / "data/prepared/manifest.json").write_text(json.dumps(manifest))
    assert front_matter(rendered(tiny_copy)[1]).get("datasets") == data_sets


def test_the_nearest_preset_is_the_one_with_the_fewest_differences() -> None:
    used: dict[str, Any] = {
        "train": {"seed": 0, "loss": {"name": "a", "weight": 8}, "box": (1, 2)},
        "report": {"title": "x"},
    }
    near = {"train": {"seed": 0, "loss": {"weight": 9}, "box": [1, 2], "other": 1}, "report": {}}
    far = {"train": {"seed": 1, "loss": {"weight": 9}, "box": 3}, "validate": {}}
    assert compare_with_presets(used, {"far": far, "near": near}) == ("near", (Difference("train.loss.weight", 9, 8),))
    assert compare_with_presets(used, {"same": json.loads(json.dumps(used))}) == ("same", ())
    assert compare_with_presets(used, {}) == ("", ())


def test_the_report_lists_the_params_that_differ_from_the_preset(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    assert re.search(r"These params differ from <code>presets/\w+\.yaml</code>", page)
    assert re.search(r"train\.generator\.channels</th><td><code>\d+</code></td><td><code>4</code>", page)


def test_the_report_works_without_presets(tiny_copy: Project) -> None:
    shutil.rmtree(tiny_copy.folder / "presets")
    page, card = rendered(tiny_copy)
    assert "presets/" not in page + card


@pytest.mark.parametrize(
    ("preset", "changes", "words"),
    [
        (
            "default",
            {},
            "relativistic loss with R1 and R2 (γ 1, every 4 steps), batch norm in the generator and no norm in the "
            "discriminator, a fully connected hidden layer in both networks, z beside the generator's hidden layer, "
            "minibatch standard deviation, Adam (β 0 and 0.9 rising to 0.99 over 240,000 images), learning rate 0.002 "
            "falling to 0.0001 over 240,000 images, batches of 32, an average of the generator's weights with "
            "a half-life of 20,000 images",
        ),
        (
            "paper",
            {},
            "non-saturating loss, batch norm in both networks, Adam (β 0.5 and 0.999), learning rate 0.0002, batches "
            "of 128, no average of the generator's weights",
        ),
        (
            "paper",
            {
                "loss": {"name": "wasserstein_gp", "r1": [5, 0.5], "penalty_every": 8},
                "discriminator": {"norm": "layer"},
                "optimizer": {
                    "discriminator_learning_rate": 0.0001,
                    "discriminator_steps": 5,
                    "warmup": 2000,
                    "burn_in": 1000,
                    "learning_rate_decay": 0.6,
                },
            },
            "Wasserstein loss with R1 (γ 5 falling to 0.5 over 1,000 images, every 8 steps) and a gradient penalty "
            "(λ 10, every 8 steps), batch norm in the generator and layer norm in the discriminator, Adam (β 0.5 "
            "and 0.999), learning rates 0.0002 (generator) and 0.0001 (discriminator), warm-up over 2,000 images, "
            "decay to 0 in the last 60 % of the training, 5 steps of the discriminator per step of the generator, "
            "batches of 128, no average of the generator's weights",
        ),
        (
            "paper",
            {"augment": {"transforms": ["colour", "translation", "cutout"]}},
            "non-saturating loss, adaptive augmentation (colour, translation and cutout; over-fitting 0.3), batch norm "
            "in both networks, Adam (β 0.5 and 0.999), learning rate 0.0002, batches of 128, no average of the "
            "generator's weights",
        ),
        (
            "paper",
            {"augment": {"transforms": ["colour"], "probability": 0.5}, "generator": {"stem": "both"}},
            "non-saturating loss, augmentation (colour; probability 0.5), batch norm in both networks, a fully "
            "connected hidden layer in the generator, z beside the generator's hidden layer, Adam (β 0.5 and "
            "0.999), learning rate 0.0002, batches of 128, no average of the generator's weights",
        ),
    ],
    ids=["default", "paper", "wasserstein_gp", "augmentation", "fixed"],
)
def test_the_recipe_is_one_line_in_words(preset: str, changes: dict[str, dict[str, Any]], words: str) -> None:
    train = yaml.safe_load((ROOT / f"presets/{preset}.yaml").read_text())["train"]
    for group, values in changes.items():
        train[group].update(values)
    assert recipe(train) == words


def test_the_recipe_is_on_the_page_and_on_the_card(tiny_copy: Project) -> None:
    params = json.loads((tiny_copy.folder / "models/model.json").read_text())["params"]
    page, card = rendered(tiny_copy)
    assert f"<p>Recipe: {html.escape(recipe(params))}.</p>" in page.replace("&#39;", "&#x27;")
    assert f"\nRecipe: {recipe(params)}.\n" in card


def test_the_recipe_names_a_preset_with_the_same_params(tiny_copy: Project) -> None:
    params = json.loads((tiny_copy.folder / "models/model.json").read_text())["params"]
    (tiny_copy.folder / "presets/tiny.yaml").write_text(yaml.safe_dump({"train": params}))
    page, card = rendered(tiny_copy)
    assert "<p>Recipe, the preset <code>tiny</code>: " in page
    assert "\nRecipe, the preset `tiny`: " in card


@pytest.mark.parametrize("classes", [1, 10, 35, 36, 102])
def test_each_cluster_has_its_own_mark_up_to_35_classes(classes: int) -> None:
    generator = np.random.default_rng(0)
    names = [f"_class {i} $x$" for i in range(classes)]
    points = pd.DataFrame({"kind": ["real", "generated"] * 300, "class": [names[i // 2 % classes] for i in range(600)]})
    points = points.assign(x=generator.normal(size=600), y=generator.normal(size=600))
    drawn = figures.clusters(points)
    assert list(drawn) == ["real", "generated"]
    for svg in drawn.values():
        legend = re.findall(r">\u200b?(_class \d+ \$x\$|other classes)<", svg)
        assert len(legend) == min(classes, 35)
        assert ("other classes" in legend) == (classes > 35)
        assert svg.count("<use") >= 300
    assert drawn == figures.clusters(points), "the same text every time"


def test_the_axis_of_a_single_score_begins_at_0() -> None:
    svg = figures.curves({"score": pd.DataFrame({"step": [160.0], "value": [3.0]})}, "score", 1, 160)
    assert ">0</text>" in svg
    assert not re.search(r">0\.1\d*k?</text>", svg), "labels so close that they overlap"


def test_clusters_without_classes_have_no_legend() -> None:
    points = pd.DataFrame({"kind": ["real", "generated"], "class": ["", ""], "x": [0.0, 1.0], "y": [0.0, 1.0]})
    assert not any("legend" in svg for svg in figures.clusters(points).values())


def test_the_cards_answer_before_the_first_picture(tiny: Project) -> None:
    page = (tiny.folder / "reports/report.html").read_text()
    first = in_words(page[page.index('<ul class="numbers">') : page.index("<img")])
    places = [
        first.index(words) for words in ("Quality", "Variety", "Copies", "Training", "Changed from", "make compare")
    ]
    assert places == sorted(places)


def test_a_metric_of_the_catalog_is_in_one_group() -> None:
    values = dict.fromkeys(METRICS, 0.5)
    groups = metric_table.tables(values, {})
    assert list(groups) == ["Quality and variety together", "Quality", "Variety", "Copies", "Other"]
    assert [line.metric.name for line in groups["Other"]] == ["judge_rejected"]
    names = [line.metric.name for lines in groups.values() for line in lines]
    assert len(names) == len(set(names))
    assert {name for name, metric in METRICS.items() if metric.better} <= set(names)


def test_no_metric_is_explained_by_the_one_above_it() -> None:
    values = {metric.name: 0.5 for metric in METRICS.values()}
    meanings = [line.meaning for lines in metric_table.tables(values, {}).values() for line in lines]
    assert not [meaning for meaning in meanings if "in the same way" in meaning]


def test_a_metric_is_beside_the_value_of_real_images_and_its_direction() -> None:
    metrics = {"fid": 8.0918, "fid_floor": 0.163794, "fid_bias": 0.2034, "rarest_mode": 0.094, "new": 1.0}
    groups = metric_table.tables(metrics, {"rarest_mode": "0.1"})
    (fid,), (rarest,) = groups["Quality and variety together"], groups["Variety"]
    assert (fid.value, fid.real, fid.better) == (8.0918, "0.1638", "↓ lower")
    assert fid.remark == "Here it is about 0.2034 too high"
    assert (rarest.real, rarest.better) == ("0.1", "↑ higher")
    assert [(line.metric.name, line.real) for line in groups["Other"]] == [("new", "–")]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_loss_is_explained_with_the_value_at_which_nothing_can_be_told_apart(name: str, smoothing: float) -> None:
    found = losses.meaning({"name": name, "label_smoothing": smoothing})
    bounds = LOSSES[name].formulas.bounds(smoothing)
    assert found.words
    assert found.discriminator == pytest.approx(bounds[1] if bounds else 0)


def test_a_loss_that_the_report_does_not_know_has_no_explanation() -> None:
    assert losses.meaning({"name": "new", "label_smoothing": 0.0}) == losses.Meaning("")


def test_many_classes_are_in_panels_and_their_names_are_short() -> None:
    names = [f"class {i} with a very long name" for i in range(100)]
    shares = [0.01] * 100
    assert 'width="360pt"' in figures.class_shares(names[:25], shares[:25], shares[:25])
    drawn = figures.class_shares(names, shares, shares)
    assert 'width="720pt"' in drawn
    assert drawn.count("share of images, %") - drawn.count("<!-- share of images, % -->") == 4
    assert re.findall(r">(class 99[^<]*)<", drawn) == ["class 99 with a…"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("ratio", [1, 1.25, 1.5, 2, 3])
@pytest.mark.parametrize("width", [360, 1280])
def test_each_pixel_of_a_picture_is_a_whole_number_of_the_screens(
    tiny: Project, browser: Any, width: int, ratio: float
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, device_scale_factor=ratio)
    page.goto((tiny.folder / "reports/report.html").as_uri())
    shown = page.eval_on_selector_all(
        ".mat img",
        "all => all.map(i => [i.getBoundingClientRect().width, i.style.getPropertyValue('--pixels'),"
        " getComputedStyle(i).imageRendering])",
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert len(shown) == 9
    for wide, pixels, rendering in shown:
        blocks = wide * ratio / int(pixels)
        assert blocks >= 1
        assert blocks == pytest.approx(round(blocks), abs=0.02)
        assert rendering == "pixelated"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_page_prints_on_at_most_eight_pages(tiny: Project, browser: Any) -> None:
    page = browser.new_page()
    page.goto((tiny.folder / "reports/report.html").as_uri())
    printed = page.pdf(format="A4")
    page.close()
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8


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
