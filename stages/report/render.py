"""Render the page and the model card from a `Contents`."""

import dataclasses
import html
import re
from pathlib import Path
from typing import Any

from stages import templates
from stages.metrics.catalog import METRICS
from stages.report import figures
from stages.report.contents import Contents, compare_with_presets
from stages.report.front_matter import front_matter
from stages.report.recipe import recipe
from stages.report.settings import Settings

_COPIES = {
    True: "training images are copied",
    False: "no sign that training images are copied",
    None: "whether training images are copied cannot be decided",
}
_NEIGHBOURHOODS = ("precision", "recall", "density", "coverage")
_FLAGS = {
    "non_finite": "diverged",
    "discriminator_saturated": "discriminator saturated",
    "generator_collapsed": "generator collapsed",
    "exploded": "training exploded",
}
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def _verdict(contents: Contents) -> str:
    """The run in one sentence."""
    metrics, shape = contents.metrics, "×".join(map(str, contents.data.shape))
    parts = []
    if contents.network:
        floor = f" ({contents.floor})" if contents.floor else ""
        parts.append(f"Fréchet distance {metrics['fid']:.1f} in {contents.network}{floor}")
    if contents.has_judge:
        parts.append(f"{metrics['modes_covered']} of {metrics['modes_total']} {contents.kind} covered")
    if contents.rejection:
        parts.append("a judge failed its check")
    if not contents.network:
        parts.append(f"sliced Wasserstein distance {metrics['swd']:.1f} (real images: {metrics['swd_floor']:.1f})")
    parts.append(_COPIES[contents.copies])
    raised = dict.fromkeys(_FLAGS[flag.kind] for flag in contents.flags)
    parts.append(f"flagged: {', '.join(raised)}" if raised else "no flag raised")
    return f"A DCGAN of {contents.data.source['title']} at {shape}: {'; '.join(parts)}."


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


def _figures(contents: Contents, settings: Settings) -> dict[str, str]:
    """The figures, as SVG elements by name."""
    best, logistic = contents.model["best_images_seen"], contents.model["logistic"]
    curves = contents.curves
    svgs = {
        "loss": figures.curves(
            {"discriminator": curves["loss/discriminator"], "generator": curves["loss/generator"]},
            "loss, nats" if logistic else "loss",
            settings.smoothing,
            best,
        ),
        "outputs": figures.curves(
            {"real images": curves["output/real"], "samples": curves["output/fake"]},
            "mean probability of “real”" if logistic else "mean output",
            settings.smoothing,
            best,
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
        svgs["clusters"] = figures.clusters(contents.points)
    return svgs


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
        "verdict": _verdict(contents),
        "protocol": contents.protocol,
        "measured": contents.measured,
        "catalog": METRICS,
        "params": used,
        "copies": _COPIES,
        "preset": preset,
        "differences": differences,
        "recipe": recipe(contents.model["params"]),
    }
    folder = Path(__file__).parent
    pages = templates.environment(folder, html=True)
    pages.filters["short_hashes"] = lambda text: _HASH.sub(r"\1", text)  # the page's end has them in full
    page = pages.get_template("page.html.j2").render(**values, svgs=_figures(contents, settings))
    cards = templates.environment(folder, html=False, escape=_escape_markdown)
    card = cards.get_template("model_card.md.j2").render(**values)
    return page, front_matter(contents, title, preset, differences) + card
