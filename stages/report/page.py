"""Gather what the stages wrote, and put it on the page and on the model's card."""

import base64
import dataclasses
import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from pandas.api.types import is_numeric_dtype
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from stages import artifacts, manifest, params, png
from stages.errors import StageError
from stages.flags import Flag
from stages.manifest import Manifest
from stages.metrics import memorization
from stages.report import figures
from stages.report.settings import Settings
from stages.workspace import Workspace

_MODEL = (
    *("generator", "discriminator", "images_seen", "best_images_seen", "score", "logistic", "stopped", "flags"),
    *("params", "environment"),
)
_METRICS = ("swd", "swd_floor", "ms_ssim", "ms_ssim_real", "memorization", "memorization_real", "nearest_distance")
_MODES = ("modes_covered", "modes_total", "rarest_mode", "mode_kl")
_IN_FEATURES = ("fid", "fid_floor", "fid_bias")
_COPIES = {
    True: "training images are copied",
    False: "no sign that training images are copied",
    None: "whether training images are copied cannot be told",
}
_NEIGHBOURHOODS = ("precision", "recall", "density", "coverage")
_PICTURES = ("grid", "real", "timeline", "timeline_animated", "interpolation", "nearest")
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_CURVES = ("loss/discriminator", "loss/generator", "output/real", "output/fake", "score")
# Columns of tables that hold names: text, be it "01".
_NAMES = dict.fromkeys(("split", "class", "reason", "kind"), str)


@dataclass(frozen=True)
class Picture:
    """A PNG as the page shows it: its address (data:), its pixels' size, and what it says of itself."""

    address: str
    width: int
    height: int
    description: str
    source: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """Everything the page tells, as the stages left it.

    Where the data has no labels there is no judge: `accuracy` is None, and `judge`, `metrics` and `modes` have nothing
    that needs one. Where nothing is measured in a network's features, `metrics` has nothing of that, and `points` is
    empty. The curves `output/real` and `output/fake` are D's mean probability of "real" where `model` says that its
    loss is logistic, else D's mean output. `presets` are whole params files by name.
    """

    data: Manifest
    statistics: pd.DataFrame
    rejected: pd.DataFrame
    judge: dict[str, Any]
    accuracy: float | None
    model: dict[str, Any]
    flags: tuple[Flag, ...]
    metrics: dict[str, Any]
    modes: pd.DataFrame
    points: pd.DataFrame
    presets: dict[str, dict[str, Any]]
    curves: dict[str, pd.DataFrame]
    pictures: dict[str, Picture]

    @property
    def protocol(self) -> dict[str, Any]:
        """What the metrics hold under."""
        return dict(self.metrics["protocol"])

    @property
    def network(self) -> str:
        """In whose features samples were measured, as words; empty where in none's."""
        names = {"judge": "the judge's features", "inception": "Inception's features", "none": ""}
        return names[self.protocol["feature_network"]]

    @property
    def copies(self) -> bool | None:
        """Whether more samples than allowed are as close to one training image as copies are; None: `untold` why."""
        if self._few:
            return None
        return memorization.copied(self.metrics["memorization"], self.metrics["memorization_real"])

    @property
    def most_copies(self) -> float:
        """The share of samples above which training images are held to be copied."""
        return memorization.threshold(self.metrics["memorization_real"])

    @property
    def _few(self) -> bool:
        return bool(self.protocol["memorization_samples"] < self.protocol["memorization_needs"])

    @property
    def untold(self) -> str:
        """Why it cannot be told whether training images are copied."""
        if self._few:
            needed = self.protocol["memorization_needs"]
            return f"too few images were held out: {self.protocol['memorization_samples']}, and it takes {needed}"
        return "the data repeats itself, and more than a quarter of the held-out images look like copies, too"

    @property
    def improving(self) -> bool:
        """Whether the last score is the best, of several, in a training that took all its images."""
        ended = self.model["stopped"] or self.model["best_images_seen"] < self.model["images_seen"]
        return not ended and len(self.curves["score"]) > 1

    @property
    def floor(self) -> str:
        """Real images' Fréchet distance from the training images, where there are as many of them as samples."""
        few = self.protocol.get("floor_samples", 0) < self.protocol["samples"]
        return "" if few else f"real images: {self.metrics['fid_floor']:.2f}"


def _picture(path: Path) -> Picture:
    facts = png.read_facts(path)
    with Image.open(path) as picture:
        width, height = picture.size
    encoded = base64.b64encode(path.read_bytes()).decode()
    try:
        told = facts["Description"], facts["Source"], json.loads(facts["Params"])
    except (KeyError, ValueError) as error:
        raise artifacts.damaged(path, f"it does not say how it came about: {error}") from error
    description, source, params_then = told
    source = _HASH.sub(r"\1", source)  # the whole hash stands at the page's end
    return Picture(f"data:image/png;base64,{encoded}", width, height, description, source, params_then)


def _table(path: Path, *columns: str) -> pd.DataFrame:
    """A table with these columns, of numbers all but the names. Raises StageError naming a file that is none."""
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False, dtype=_NAMES)
    except FileNotFoundError:
        raise artifacts.missing(path) from None
    except ValueError as error:
        raise artifacts.damaged(path, error) from error
    numbers = [column for column in columns if column not in _NAMES]
    # An empty table's columns have no type.
    right = len(table) == 0 or all(is_numeric_dtype(table[column]) for column in numbers if column in table)
    if list(table.columns) != list(columns) or not right:
        raise artifacts.damaged(path, f"expected the columns {', '.join(columns)}")
    return table


def _flags(path: Path, told: object) -> tuple[Flag, ...]:
    try:
        return TypeAdapter(tuple[Flag, ...]).validate_python(told)
    except ValidationError as error:
        raise artifacts.damaged(path, f"flags: {error.errors()[0]['msg']}") from error


def _curve(folder: Path, name: str, diverged: bool) -> pd.DataFrame:
    """A curve of a training; one that diverged at once has none but its score's, so that they are without points."""
    path = folder / f"{name}.tsv"
    if diverged and not path.exists():
        return pd.DataFrame({"step": [], "value": []})
    return _table(path, "step", name.split("/")[-1]).set_axis(["step", "value"], axis="columns").astype(float)


def _presets(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The whole params files of presets/ by name; none where the folder is not there."""
    try:
        folder = workspace.input("presets")
    except StageError:
        return {}
    return {path.stem: params.read_file(path) for path in sorted(folder.glob("*.yaml"))}


def _metrics(path: Path, judged: bool) -> dict[str, Any]:
    metrics = artifacts.read_json(path, *_METRICS, *(_MODES if judged else ()), "protocol")
    if not isinstance(metrics["protocol"], dict) or "feature_network" not in metrics["protocol"]:
        raise artifacts.damaged(path, "it does not say under which protocol its numbers hold")
    if metrics["protocol"]["feature_network"] != "none":
        artifacts.read_json(path, *_IN_FEATURES)
    return metrics


def gather(workspace: Workspace) -> Content:
    """Read the stages' outputs. Raises StageError naming the file that is missing or damaged."""
    model_file = workspace.input("models/model.json")
    model = artifacts.read_json(model_file, *_MODEL)
    judge_file = workspace.input("models/features/features.json")
    judge = artifacts.read_json(judge_file, "network", "params")
    accuracy = None
    if judge["network"] != "none":
        judge = artifacts.read_json(judge_file, "sha256", "parameters", *judge)
        accuracy = artifacts.read_json(workspace.input("reports/features.json"), "judge_accuracy")["judge_accuracy"]
    samples, evaluated, data = (
        workspace.input("reports/samples"),
        workspace.input("reports/evaluate"),
        workspace.input("reports/data"),
    )
    flags = _flags(model_file, model["flags"])
    curves = workspace.input("reports/train/plots/metrics")
    diverged = any(flag.kind == "non_finite" for flag in flags)
    paths = [samples / f"{name}.png" for name in _PICTURES]
    optional = [samples / "arithmetic.png", evaluated / "lowest.png"]
    return Content(
        data=manifest.read(workspace.input("data/prepared/manifest.json").parent),
        statistics=_table(data / "classes.csv", "split", "class", "images", "mean", "std", "min", "max"),
        rejected=_table(data / "rejected.csv", "reason", "images"),
        judge=judge,
        accuracy=accuracy,
        model=model,
        flags=flags,
        metrics=_metrics(workspace.input("reports/metrics.json"), accuracy is not None),
        modes=_table(evaluated / "modes.csv", "class", "generated", "real"),
        points=_table(evaluated / "points.csv", "kind", "class", "x", "y"),
        presets=_presets(workspace),
        curves={name: _curve(curves, name, diverged) for name in _CURVES},
        pictures={
            path.stem: _picture(path)
            for path in [*paths, data / "contact_sheet.png", *(path for path in optional if path.exists())]
        },
    )


def _hashes(content: Content) -> dict[str, str]:
    """What the pictures came from, by name and SHA-256."""
    judge = {} if content.accuracy is None else {"judge.keras": content.judge["sha256"]}
    if content.protocol["feature_network"] == "inception":
        judge["inception.pb"] = content.protocol["feature_network_sha256"]
    return {
        **{file["name"]: file["sha256"] for file in content.data.source["files"]},
        **{s.name: s.sha256 for split in content.data.splits.values() for s in split.shards},
        **judge,
        "generator.keras": content.model["generator"]["sha256"],
        "discriminator.keras": content.model["discriminator"]["sha256"],
    }


def _verdict(content: Content) -> str:
    """The run in a sentence."""
    metrics, shape = content.metrics, "×".join(map(str, content.data.shape))
    parts = []
    if content.network:
        floor = f" ({content.floor})" if content.floor else ""
        parts.append(f"Fréchet distance {metrics['fid']:.1f} in {content.network}{floor}")
    if content.accuracy is not None:
        parts.append(f"{metrics['modes_covered']} of {metrics['modes_total']} classes")
    if not content.network:
        parts.append(f"sliced Wasserstein distance {metrics['swd']:.1f} (real images: {metrics['swd_floor']:.1f})")
    parts.append(_COPIES[content.copies])
    kinds = {"non_finite": "diverged", "discriminator_saturated": "D saturated", "generator_collapsed": "G collapsed"}
    raised = dict.fromkeys(kinds[flag.kind] for flag in content.flags)
    parts.append(f"flagged: {', '.join(raised)}" if raised else "no flag raised")
    return f"A DCGAN of {content.data.source['title']} at {shape}: {'; '.join(parts)}."


def _params(content: Content, settings: Settings) -> dict[str, dict[str, Any]]:
    """The params that the results came from, by section, as the stages noted them."""
    protocol = content.protocol
    return {
        "dataset": {"source": content.data.source["name"]},
        "prepare": content.data.params,
        "features": content.judge["params"],
        "train": content.model["params"],
        "sample": content.pictures["grid"].params,
        # Without a network no more samples are drawn than there are test images, whatever the params say.
        "evaluate": {
            name: protocol[name]
            for name in ("samples", "first_seed", "mode_threshold")
            if name != "samples" or protocol["feature_network"] != "none"
        },
        "report": dataclasses.asdict(settings),
    }


@dataclass(frozen=True)
class Difference:
    """A param that differs from a preset's: its name with its section, what the preset has, and what this run had."""

    name: str
    preset: Any
    here: Any


def differences(
    used: dict[str, dict[str, Any]], presets: dict[str, dict[str, Any]]
) -> tuple[str, tuple[Difference, ...]]:
    """The preset that differs least from the params that were used, and where it does; "" where there is no preset.

    What a preset leaves out is taken for no difference.
    """
    found = {}
    for name, preset in presets.items():
        pairs = [
            (f"{section}.{key}", preset[section][key], json.loads(json.dumps(value)))
            for section, values in used.items()
            for key, value in values.items()
            if isinstance(preset.get(section), dict) and key in preset[section]
        ]
        found[name] = tuple(Difference(*pair) for pair in pairs if pair[1] != pair[2])
    if not found:
        return "", ()
    nearest = min(found, key=lambda name: len(found[name]))
    return nearest, found[nearest]


def _drawn(content: Content, settings: Settings) -> dict[str, str]:
    """The figures, as SVG elements by name."""
    best = content.model["best_images_seen"]
    logistic = content.model["logistic"]
    drawn = {
        "loss": figures.curves(
            {
                "discriminator": content.curves["loss/discriminator"],
                "generator": content.curves["loss/generator"],
            },
            "loss, nats" if logistic else "loss",
            settings.smoothing,
            best,
        ),
        "outputs": figures.curves(
            {"of real images": content.curves["output/real"], "of samples": content.curves["output/fake"]},
            "D's mean probability of “real”" if logistic else "D's mean output",
            settings.smoothing,
            best,
        ),
        "score": figures.curves({"score": content.curves["score"]}, "score", 1, best),
    }
    if content.accuracy is not None:
        shares = content.modes
        drawn["modes"] = figures.class_shares(list(shares["class"]), list(shares["generated"]), list(shares["real"]))
    if "precision" in content.metrics:
        drawn["neighbourhoods"] = figures.shares({name: content.metrics[name] for name in _NEIGHBOURHOODS})
    if len(content.points):
        drawn["clusters"] = figures.clusters(content.points)
    return drawn


def _in_markdown(value: object) -> str:
    """Text as Markdown shows it: names from the data are no markup, and no HTML."""
    text = html.escape(re.sub(r"\s+", " ", str(value)), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", text)


def render(content: Content, settings: Settings) -> tuple[str, str]:
    """The page as one HTML text (no network, no script) and the model's card as Markdown; names are escaped in both."""
    used = _params(content, settings)
    preset, differing = differences(used, content.presets)
    known = {
        "c": content,
        "settings": settings,
        "verdict": _verdict(content),
        "protocol": content.protocol,
        "params": used,
        "copies": _COPIES,
        "preset": preset,
        "differing": differing,
        "hashes": _hashes(content),
    }

    def environment(escape: Callable[[object], str] | None) -> jinja2.Environment:
        made = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=escape is None,  # noqa: S701 - where it is off, finalize escapes for Markdown
            finalize=escape,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        made.filters["count"] = "{:,}".format
        return made

    page = environment(None).get_template("page.html.j2").render(**known, drawn=_drawn(content, settings))
    card = environment(_in_markdown).get_template("model_card.md.j2").render(**known)
    return page, card
