"""Read the outputs of the other stages into one `Contents`, from which the page and the model card are rendered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype
from pydantic import TypeAdapter, ValidationError

from stages import artifacts, manifest, params, png
from stages.errors import StageError
from stages.flags import Flag
from stages.manifest import Manifest
from stages.metrics import files, memorization
from stages.metrics.catalog import METRICS, Metric
from stages.png import Picture
from stages.workspace import Workspace

_MODEL = (
    *("generator", "discriminator", "images_seen", "best_images_seen", "score", "logistic", "paired", "stopped"),
    *("flags", "params", "environment"),
)
_METRICS = (
    *("swd", "swd_floor", "ms_ssim", "ms_ssim_real", "memorization", "memorization_low", "memorization_high"),
    *("memorization_real", "nearest_distance"),
)
_MODES = ("modes_covered", "modes_total", "rarest_mode", "mode_kl")
_IN_FEATURES = ("fid", "fid_floor", "fid_bias")
_ACCURACY = ("judge_accuracy", "judge_accuracy_low", "judge_accuracy_high", "largest_class")
_PICTURES = ("grid", "real", "timeline", "timeline_animated", "interpolation", "nearest")
_CURVES = ("loss/discriminator", "loss/generator", "output/real", "output/fake", "score")
# A run that ended before its first score lacks the first four, and a run without an adaptive augmentation the last.
_OPTIONAL_CURVES = (
    *("overfitting/train", "overfitting/held_out", "overfitting/generated", "overfitting/measure"),
    "augment/probability",
)
# The over-fitting from which the discriminator knows the training images partly, and by heart.
_PARTLY, _BY_HEART = 0.25, 0.6
# Columns that hold names: read as text, even "01".
_TEXT_COLUMNS = dict.fromkeys(("split", "class", "judged", "reason", "outcome", "kind"), str)
_NETWORKS = {
    "judge": "the judge's features",
    "judge_unlabelled": "the features of the judge without labels",
    "inception": "Inception's features",
    "none": "",
}
_JUDGES = {"judge": "the judge of the labels", "judge_unlabelled": "the judge without labels"}


@dataclass(frozen=True)
class Contents:
    """Everything that the report shows, as the stages wrote it.

    Without a judge, `metrics` and `modes` hold nothing that needs one. `accuracy` is None unless the judge was trained
    on labels. Without a network's features, `metrics` has none of the metrics that need them, and `points` is empty.
    The curves `output/real` and `output/fake` are the discriminator's mean probability of "real" if `model` says that
    its loss is logistic, else its mean output. If `model` says that the loss is paired, each image is compared with one
    of the other kind. The curves `overfitting/…` are its mean outputs at the scores, before any sigmoid, and the
    measure that follows from them. `presets` are whole params files by name. `confusion` and `by_class` are tables of a
    conditional generator's samples; they are empty for any other, and without a judge of the labels.
    """

    data: Manifest
    statistics: pd.DataFrame
    files: pd.DataFrame
    judge: dict[str, Any]
    accuracy: dict[str, float] | None
    model: dict[str, Any]
    flags: tuple[Flag, ...]
    metrics: dict[str, Any]
    modes: pd.DataFrame
    points: pd.DataFrame
    confusion: pd.DataFrame
    by_class: pd.DataFrame
    presets: dict[str, dict[str, Any]]
    curves: dict[str, pd.DataFrame]
    pictures: dict[str, Picture]

    @property
    def protocol(self) -> dict[str, Any]:
        """The conditions under which the metrics were measured."""
        return dict(self.metrics["protocol"])

    @property
    def measured(self) -> list[tuple[Metric, Any]]:
        """The metrics with their values, in the order of the catalog."""
        return [
            (METRICS.get(name) or Metric(name, name, ""), value)
            for name, value in self.metrics.items()
            if name != "protocol"
        ]

    @property
    def network(self) -> str:
        """The network whose features the metrics use, in words; empty if they use none."""
        return _NETWORKS[self.protocol["feature_network"]]

    @property
    def has_judge(self) -> bool:
        """Whether there is a judge, of the labels or without labels."""
        return bool(self.judge["network"] != "none")

    @property
    def kind(self) -> str:
        """What the judge tells apart, in the plural."""
        return "clusters" if self.judge["network"] == "judge_unlabelled" else "classes"

    @property
    def rejection(self) -> str:
        """Why judges were rejected and what replaces them, as sentences; empty if none was."""
        rejected = self.judge.get("rejected", {})
        reasons = (f"{_JUDGES[name].capitalize()} is not used: {reason}." for name, reason in rejected.items())
        replacement = (
            "The judge without labels replaces it, and clusters replace the classes."
            if self.has_judge
            else "The sliced Wasserstein distance chose the checkpoint."
        )
        return " ".join((*reasons, replacement)) if rejected else ""

    @property
    def imprecise(self) -> str:
        """Why there is no precision and no density, as a sentence; empty if the judge does not forbid them."""
        flattered = [] if "precision" in self.metrics else self.judge.get("flattered", [])
        verb = "does" if len(flattered) == 1 else "do"
        names = " and ".join(flattered)
        return f"Precision and density are not measured: {names} {verb} not lower the precision." if flattered else ""

    @property
    def copies(self) -> bool | None:
        """Whether more samples than allowed look like copies of training images; None if it cannot be decided."""
        metrics, protocol = self.metrics, self.protocol
        return memorization.copied(
            metrics["memorization"],
            protocol["memorization_samples"],
            metrics["memorization_real"],
            protocol["memorization_real_images"],
        )

    @property
    def max_copies(self) -> float:
        """The share of samples above which the report says that training images are copied."""
        return memorization.threshold(self.metrics["memorization_real"])

    @property
    def undecided(self) -> str:
        """Why it cannot be decided whether training images are copied."""
        if memorization.repeats_itself(self.metrics["memorization_real"]):
            images = self.protocol["memorization_real"]
            return f"the data repeats itself, and more than a quarter of the {images} look like copies as well"
        samples = self.protocol["memorization_samples"]
        return f"more samples look like copies than should, but {samples} samples are so few that this can be chance"

    @property
    def new_images(self) -> str:
        """The real images that the samples are compared with to detect copies, in words."""
        if self.protocol["memorization_real"] == "held-out images":
            return "held-out images"
        return "training images, each compared with the others, because there are too few held-out images"

    @property
    def overfitting(self) -> float | None:
        """The discriminator's over-fitting at the chosen checkpoint; None if it was not measured."""
        curve = self.curves["overfitting/measure"]
        values = curve["value"][curve["step"] == self.model["best_images_seen"]]
        return float(values.iloc[-1]) if len(values) else None

    @property
    def by_heart(self) -> str:
        """Whether the discriminator has learned the training images by heart: Yes, Partly or No."""
        if self.overfitting is None or self.overfitting < _PARTLY:
            return "No"
        return "Yes" if self.overfitting >= _BY_HEART else "Partly"

    @property
    def improving(self) -> bool:
        """Whether training ran to its end and had its best score there."""
        ended = self.model["stopped"] or self.model["best_images_seen"] < self.model["images_seen"]
        return not ended and len(self.curves["score"]) > 1

    @property
    def floor(self) -> str:
        """The Fréchet distance of real images in brackets, if there are as many of them as samples."""
        few = self.protocol.get("floor_samples", 0) < self.protocol["samples"]
        return "" if few else f" (real images: {self.metrics['fid_floor']:.2f})"

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file that the pictures were made from, by name."""
        networks = {"judge.keras": self.judge["sha256"]} if self.has_judge else {}
        if self.protocol["feature_network"] == "inception":
            networks["inception.pb"] = self.protocol["feature_network_sha256"]
        return {
            **{file["name"]: file["sha256"] for file in self.data.source["files"]},
            **{s.name: s.sha256 for split in self.data.splits.values() for s in split.shards},
            **networks,
            "generator.keras": self.model["generator"]["sha256"],
            "discriminator.keras": self.model["discriminator"]["sha256"],
        }


@dataclass(frozen=True)
class Difference:
    """A param that differs from a preset: its name with its section, the preset's value, and this run's value."""

    name: str
    preset: Any
    here: Any


def _differences(name: str, preset: Any, here: Any) -> Iterator[Difference]:
    """The differences of two params or, if both are mappings, of the keys that they share."""
    if isinstance(preset, dict) and isinstance(here, dict):
        for key in (key for key in here if key in preset):
            yield from _differences(f"{name}.{key}" if name else key, preset[key], here[key])
    elif preset != here:
        yield Difference(name, preset, here)


def compare_with_presets(
    used: dict[str, dict[str, Any]], presets: dict[str, dict[str, Any]]
) -> tuple[str, tuple[Difference, ...]]:
    """The preset that differs least from the params of a run, and the differences; "" if there is no preset.

    A param that a preset does not set is not a difference.
    """
    here = json.loads(json.dumps(used))
    differences = {name: tuple(_differences("", preset, here)) for name, preset in presets.items()}
    if not differences:
        return "", ()
    nearest = min(differences, key=lambda name: len(differences[name]))
    return nearest, differences[nearest]


def _picture(path: Path) -> Picture:
    picture = png.read(path)
    provenance = picture.provenance
    if not (provenance.description and provenance.source and provenance.params):
        raise artifacts.damaged(path, "its provenance text is missing")
    return picture


def _table(path: Path, *columns: str, empty_cells: bool = False) -> pd.DataFrame:
    """A table with exactly these columns, numeric except for names. Raises StageError, naming the file, otherwise.

    `empty_cells`: whether a number can be missing; it is NaN then.
    """
    try:
        table = pd.read_csv(
            path,
            sep="\t" if path.suffix == ".tsv" else ",",
            keep_default_na=False,
            na_values=dict.fromkeys(set(columns) - set(_TEXT_COLUMNS), "") if empty_cells else None,
            dtype=_TEXT_COLUMNS,
        )
    except FileNotFoundError:
        raise artifacts.missing(path) from None
    except ValueError as error:
        raise artifacts.damaged(path, error) from error
    numbers = [column for column in columns if column not in _TEXT_COLUMNS]
    # The columns of an empty table have no type.
    numeric = len(table) == 0 or all(is_numeric_dtype(table[column]) for column in numbers if column in table)
    if list(table.columns) != list(columns) or not numeric:
        raise artifacts.damaged(path, f"expected the columns {', '.join(columns)}")
    return table


def _optional_table(path: Path, *columns: str, empty_cells: bool = False) -> pd.DataFrame:
    """A `_table`; empty if the file is missing."""
    if path.exists():
        return _table(path, *columns, empty_cells=empty_cells)
    return pd.DataFrame({column: [] for column in columns})


def _flags(path: Path, value: object) -> tuple[Flag, ...]:
    try:
        return TypeAdapter(tuple[Flag, ...]).validate_python(value)
    except ValidationError as error:
        raise artifacts.damaged(path, f"flags: {error.errors()[0]['msg']}") from error


def _curves(folder: Path, flags: tuple[Flag, ...]) -> dict[str, pd.DataFrame]:
    """The training curves; empty for one that the run does not have."""
    diverged = any(flag.kind == "non_finite" for flag in flags)
    curves = {name: _curve(folder / f"{name}.tsv", optional=diverged) for name in _CURVES}
    return curves | {name: _curve(folder / f"{name}.tsv", optional=True) for name in _OPTIONAL_CURVES}


def _curve(path: Path, *, optional: bool) -> pd.DataFrame:
    if optional and not path.exists():
        return pd.DataFrame({"step": [], "value": []})
    return _table(path, "step", path.stem).set_axis(["step", "value"], axis="columns").astype(float)


def _presets(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The params files of presets/ by name; empty if the folder is missing."""
    try:
        folder = workspace.input("presets")
    except StageError:
        return {}
    return {path.stem: params.read_file(path) for path in sorted(folder.glob("*.yaml"))}


def _metrics(headlines: Path, evaluated: Path, *, has_judge: bool) -> dict[str, Any]:
    protocol = artifacts.read_json(evaluated / Path(files.PROTOCOL).name, "feature_network")
    names = {
        *_METRICS,
        *(_MODES if has_judge else ()),
        *(_IN_FEATURES if protocol["feature_network"] != "none" else ()),
    }
    shown, others = (tuple(part) for part in files.split(dict.fromkeys(names)))
    details = artifacts.read_json(evaluated / Path(files.DETAILS).name, *others)
    return files.joined(artifacts.read_json(headlines, *shown), details, protocol)


def _judge(workspace: Workspace) -> tuple[dict[str, Any], dict[str, float] | None]:
    """The features stage's facts about the judge, and its accuracy with the interval (None without labels)."""
    path = workspace.input("models/features/features.json")
    judge = artifacts.read_json(path, "network", "params")
    if judge["network"] == "none":
        return judge, None
    judge = artifacts.read_json(path, "sha256", "parameters", *judge)
    if judge["network"] == "judge_unlabelled":
        return judge, None
    return judge, artifacts.read_json(workspace.input("reports/features.json"), *_ACCURACY)


def _pictures(samples: Path, evaluated: Path, data: Path) -> dict[str, Picture]:
    required = [*(samples / f"{name}.png" for name in _PICTURES), data / "contact_sheet.png"]
    optional = [
        samples / "arithmetic.png",
        samples / "class_blends.png",
        evaluated / "clusters.png",
        evaluated / "lowest.png",
    ]
    return {path.stem: _picture(path) for path in required + [path for path in optional if path.exists()]}


def gather(workspace: Workspace) -> Contents:
    """Read the stages' outputs. Raises StageError, naming the file, if one is missing or damaged."""
    model_file = workspace.input("models/model.json")
    model = artifacts.read_json(model_file, *_MODEL)
    judge, accuracy = _judge(workspace)
    samples = workspace.input("reports/samples")
    evaluated = workspace.input("reports/evaluate")
    data = workspace.input("reports/data")
    flags = _flags(model_file, model["flags"])
    return Contents(
        data=manifest.read(workspace.input("data/prepared/manifest.json").parent),
        statistics=_table(data / "classes.csv", "split", "class", "images", "mean", "std", "min", "max"),
        files=_table(data / "files.csv", "outcome", "reason", "files"),
        judge=judge,
        accuracy=accuracy,
        model=model,
        flags=flags,
        metrics=_metrics(workspace.input("reports/metrics.json"), evaluated, has_judge=judge["network"] != "none"),
        modes=_table(evaluated / "modes.csv", "class", "generated", "real"),
        points=_table(evaluated / "points.csv", "kind", "class", "x", "y"),
        confusion=_optional_table(evaluated / "confusion.csv", "class", "judged", "samples"),
        by_class=_optional_table(
            evaluated / "classes.csv",
            *("class", "samples", "agreement", "agreement_real", "fid", "precision", "recall"),
            empty_cells=True,
        ),
        presets=_presets(workspace),
        curves=_curves(workspace.input("reports/train/plots/metrics"), flags),
        pictures=_pictures(samples, evaluated, data),
    )
