"""Render the page and the model card from a `Contents`."""

import dataclasses
import html
import re
from pathlib import Path
from typing import Any

from stages import templates
from stages.metrics.catalog import METRICS
from stages.png import Picture
from stages.report import figures, headline, losses, metric_table
from stages.report.contents import Contents, compare_with_presets
from stages.report.front_matter import front_matter
from stages.report.losses import Meaning
from stages.report.recipe import recipe
from stages.report.settings import Settings

_NEIGHBOURHOODS = ("precision", "recall", "density", "coverage")
# Device pixels per CSS pixel: those of common screens, and of common zooms of a browser.
_RESOLUTIONS = (0.5, 0.67, 0.75, 0.8, 0.9, 1.1, 1.25, 1.33, 1.5, 1.75, 2, 2.25, 2.5, 2.625, 2.75, 3, 3.5, 4)
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def _params(contents: Contents, settings: Settings) -> dict[str, dict[str, Any]]:
    """The params of the run, by section, as the stages recorded them."""
    protocol = contents.protocol
    return {
        "dataset": {"source": contents.data.source["name"]},
        "prepare": contents.data.params,
        "features": contents.judge["params"],
        "train": contents.model["params"],
        "sample": dict(contents.pictures["grid"].provenance.params),
        # Without a network, evaluate draws no more samples than there are test images, whatever the params say.
        "evaluate": {
            name: protocol[name]
            for name in ("samples", "first_seed", "mode_threshold")
            if name != "samples" or protocol["feature_network"] != "none"
        },
        "report": dataclasses.asdict(settings),
    }


def _figures(contents: Contents, settings: Settings, loss: Meaning) -> dict[str, str]:
    """The figures, as SVG elements by name."""
    best, logistic = contents.model["best_images_seen"], contents.model["logistic"]
    curves = contents.curves
    svgs = {
        "loss": figures.curves(
            {"discriminator": curves["loss/discriminator"], "generator": curves["loss/generator"]},
            "loss, nats" if logistic else "loss",
            settings.smoothing,
            best,
            {"discriminator": loss.discriminator, "generator": loss.generator},
        ),
        "outputs": figures.curves(
            {"real images": curves["output/real"], "samples": curves["output/fake"]},
            "mean probability of “real”" if logistic else "mean output",
            settings.smoothing,
            best,
            {"real images": 0.5} if logistic else {},
        ),
        "score": figures.curves({"score": curves["score"]}, "score", 1, best),
    }
    kinds = {"training images": "train", "held-out images": "held_out", "samples": "generated"}
    rated = {name: curves[f"overfitting/{kind}"] for name, kind in kinds.items()}
    if all(len(curve) for curve in rated.values()):
        svgs["overfitting"] = figures.curves(rated, "mean output", settings.smoothing, best)
    if len(curves["augment/probability"]):
        svgs["augmentation"] = figures.curves(
            {"over-fitting": curves["overfitting/measure"], "probability": curves["augment/probability"]},
            "over-fitting and probability",
            settings.smoothing,
            best,
        )
    if contents.has_judge:
        modes = contents.modes
        svgs["modes"] = figures.class_shares(list(modes["class"]), list(modes["generated"]), list(modes["real"]))
    if len(contents.confusion):
        counts = contents.confusion.pivot_table(index="class", columns="judged", values="samples", sort=False)
        svgs["confusion"] = figures.confusion(counts)
    if "recall" in contents.metrics:
        svgs["neighbourhoods"] = figures.shares(
            {METRICS[name].label: contents.metrics[name] for name in _NEIGHBOURHOODS if name in contents.metrics}
        )
    if len(contents.points):
        svgs |= {f"clusters_{kind}": svg for kind, svg in figures.clusters(contents.points).items()}
    return svgs


def _at_checkpoint(contents: Contents, settings: Settings) -> dict[str, str]:
    """The losses and outputs at the chosen checkpoint, as the figures' lines show them; empty if there are none."""
    values = {}
    for name in ("loss/discriminator", "loss/generator", "output/real", "output/fake"):
        curve = contents.curves[name]
        smooth = figures.smooth(curve["value"], settings.smoothing)[curve["step"] <= contents.model["best_images_seen"]]
        if len(smooth):
            values[name] = f"{smooth.iloc[-1]:.2f}"
    return values


def _pixels_across(picture: Picture) -> int:
    """The width of a picture before each of its pixels became a block."""
    return picture.width // max(picture.provenance.scale, 1)


def _real_values(contents: Contents) -> dict[str, str]:
    """Values of real images that are in no metric, and remarks on those that are."""
    values = {}
    if contents.has_judge:
        values["rarest_mode"] = metric_table.number(float(contents.modes["real"].min()))
    if contents.network and not contents.floor:
        values["fid"] = f"{metric_table.number(contents.metrics['fid_floor'])}, of fewer images"
    return values


def _escape_markdown(value: object) -> str:
    """Text that Markdown shows unchanged: names from the data are neither markup nor HTML."""
    text = html.escape(re.sub(r"\s+", " ", str(value)), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", text)


def render(contents: Contents, settings: Settings) -> tuple[str, str]:
    """The page as one HTML text (no network, no script) and the model card as Markdown; names are escaped in both."""
    used = _params(contents, settings)
    preset, differences = compare_with_presets(used, contents.presets)
    title = f"{settings.title} · {contents.data.source['title']}"
    values = {
        "c": contents,
        "settings": settings,
        "title": title,
        "verdict": headline.verdict(contents),
        "protocol": contents.protocol,
        "measured": contents.measured,
        "params": used,
        "copies": headline.COPIES,
        "flags": headline.FLAGS,
        "preset": preset,
        "differences": differences,
        "recipe": recipe(contents.model["params"]),
    }
    folder = Path(__file__).parent
    pages = templates.environment(folder, html=True)
    pages.filters["pixels_across"] = _pixels_across
    pages.filters["number"] = metric_table.number
    pages.filters["short_hashes"] = lambda text: _HASH.sub(r"\1", text)  # the page's end has them in full
    loss = losses.meaning(contents.model["params"]["loss"])
    page = pages.get_template("page.html.j2").render(
        **values,
        cards=headline.cards(contents),
        loss=loss,
        at_checkpoint=_at_checkpoint(contents, settings),
        svgs=_figures(contents, settings, loss),
        tables=metric_table.tables(contents.metrics, _real_values(contents)),
        resolutions=_RESOLUTIONS,
        widths=sorted({_pixels_across(picture) for picture in contents.pictures.values()}),
    )
    cards = templates.environment(folder, html=False, escape=_escape_markdown)
    card = cards.get_template("model_card.md.j2").render(**values)
    return page, front_matter(contents, title, preset, differences) + card
