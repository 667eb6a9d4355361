"""Gather what the stages wrote and put it on the page."""

import base64
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from pandas.api.types import is_numeric_dtype
from PIL import Image

from stages import artifacts, images, manifest
from stages.artifacts import Workspace
from stages.manifest import Manifest
from stages.report import figures
from stages.report.settings import Settings

_MODEL = ("generator", "discriminator", "images_seen", "best_images_seen", "params", "environment")
_METRICS = ("fid", "fid_floor", "modes_covered", "modes_total", "rarest_mode", "mode_kl", "protocol")


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
    """Everything the page tells, as the stages left it."""

    data: Manifest
    statistics: pd.DataFrame
    rejected: pd.DataFrame
    judge: dict[str, Any]
    accuracy: float
    model: dict[str, Any]
    metrics: dict[str, Any]
    modes: pd.DataFrame
    curves: dict[str, pd.DataFrame]
    pictures: dict[str, Picture]


def _picture(path: Path) -> Picture:
    facts = images.read_facts(path)
    with Image.open(path) as picture:
        width, height = picture.size
    encoded = base64.b64encode(path.read_bytes()).decode()
    try:
        told = facts["Description"], facts["Source"], json.loads(facts["Params"])
    except (KeyError, ValueError) as error:
        raise artifacts.damaged(path, f"it does not say how it came about: {error}") from error
    return Picture(f"data:image/png;base64,{encoded}", width, height, *told)


def _table(path: Path, *columns: str) -> pd.DataFrame:
    """A table with these columns, all but split and class of numbers. Raises StageError naming a file that is none."""
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)
    except ValueError as error:
        raise artifacts.damaged(path, error) from error
    numbers = [column for column in columns if column not in ("split", "class", "reason")]
    if list(table.columns) != list(columns) or not all(is_numeric_dtype(table[column]) for column in numbers):
        raise artifacts.damaged(path, f"expected the columns {', '.join(columns)}")
    return table


def gather(workspace: Workspace) -> Content:
    """Read the stages' outputs. Raises StageError naming the file that is missing or damaged."""
    curves = {}
    for name in ("loss/discriminator", "loss/generator", "probability/real", "probability/fake", "score"):
        path = workspace.input(f"reports/train/plots/metrics/{name}.tsv")
        curves[name] = (
            _table(path, "step", name.split("/")[-1]).set_axis(["step", "value"], axis="columns").astype(float)
        )
    return Content(
        data=manifest.read(workspace.input("data/prepared/manifest.json").parent),
        statistics=_table(
            workspace.input("reports/data/classes.csv"), "split", "class", "images", "mean", "std", "min", "max"
        ),
        rejected=_table(workspace.input("reports/data/rejected.csv"), "reason", "images"),
        judge=artifacts.read_json(workspace.input("models/features.json"), "sha256", "parameters", "params"),
        accuracy=artifacts.read_json(workspace.input("reports/features.json"), "judge_accuracy")["judge_accuracy"],
        model=artifacts.read_json(workspace.input("models/model.json"), *_MODEL),
        metrics=artifacts.read_json(workspace.input("reports/metrics.json"), *_METRICS),
        modes=_table(workspace.input("reports/modes.csv"), "class", "generated", "real"),
        curves=curves,
        pictures={
            name: _picture(workspace.input(f"reports/samples/{name}.png"))
            for name in ("grid", "real", "timeline", "interpolation")
        }
        | {"contact_sheet": _picture(workspace.input("reports/data/contact_sheet.png"))},
    )


def _hashes(content: Content) -> dict[str, str]:
    """What the pictures came from, by name and SHA-256."""
    return {
        **{file["name"]: file["sha256"] for file in content.data.source["files"]},
        **{s.name: s.sha256 for split in content.data.splits.values() for s in split.shards},
        "features.keras": content.judge["sha256"],
        "generator.keras": content.model["generator"]["sha256"],
        "discriminator.keras": content.model["discriminator"]["sha256"],
    }


def render(content: Content, settings: Settings) -> str:
    """The page as one HTML text: no network, no script; names from the data are escaped."""
    best = content.model["best_images_seen"]
    drawn = {
        "loss": figures.curves(
            {
                "discriminator": content.curves["loss/discriminator"],
                "generator": content.curves["loss/generator"],
            },
            "loss, nats",
            settings.smoothing,
            best,
        ),
        "probability": figures.curves(
            {
                "of real images": content.curves["probability/real"],
                "of samples": content.curves["probability/fake"],
            },
            "D's mean probability of “real”",
            settings.smoothing,
            best,
        ),
        "score": figures.curves({"score": content.curves["score"]}, "Fréchet distance", 1, best),
        "modes": figures.class_shares(
            list(content.modes["class"]), list(content.modes["generated"]), list(content.modes["real"])
        ),
    }
    protocol = content.metrics["protocol"]
    params = {
        "dataset": {"name": content.data.source["name"]},
        "prepare": content.data.params,
        "features": content.judge["params"],
        "train": content.model["params"],
        "sample": content.pictures["grid"].params,
        "evaluate": {name: protocol[name] for name in ("samples", "first_seed", "mode_threshold")},
        "report": dataclasses.asdict(settings),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        c=content, settings=settings, drawn=drawn, protocol=protocol, params=params, hashes=_hashes(content)
    )
