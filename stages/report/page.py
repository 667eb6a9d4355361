"""Gather what the stages wrote and put it on the page."""

import base64
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
from pandas.api.types import is_numeric_dtype
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from stages import artifacts, images, manifest
from stages.artifacts import Workspace
from stages.manifest import Manifest
from stages.report import figures
from stages.report.settings import Settings

_MODEL = ("generator", "discriminator", "images_seen", "best_images_seen", "params", "environment")
_METRICS = ("swd", "swd_floor", "protocol")
_JUDGED_METRICS = ("fid", "fid_floor", "modes_covered", "modes_total", "rarest_mode", "mode_kl")
# Losses whose D says a probability; the others' D says a number.
_LOGISTIC = ("non_saturating", "minimax")


@dataclass(frozen=True)
class Flag:
    """Something that went wrong in the training: after how many images, which kind of thing, and a sentence."""

    images: int
    kind: Literal["non_finite", "discriminator_saturated", "generator_collapsed"]
    message: str


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

    `score` says what the training was scored by, `stopped` why it ended early, if it did. Where the data has no labels
    there is no judge: `accuracy` is None, and `judge` and `metrics` have nothing that needs one. The curves `said/real`
    and `said/fake` are D's mean probability of "real" where the loss is `logistic`, else D's mean output.
    """

    data: Manifest
    statistics: pd.DataFrame
    rejected: pd.DataFrame
    judge: dict[str, Any]
    accuracy: float | None
    model: dict[str, Any]
    score: str
    stopped: str
    flags: tuple[Flag, ...]
    logistic: bool
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


def _curve(workspace: Workspace, name: str) -> pd.DataFrame:
    table = _table(workspace.input(f"reports/train/plots/metrics/{name}.tsv"), "step", name.split("/")[-1])
    return table.set_axis(["step", "value"], axis="columns").astype(float)


def gather(workspace: Workspace) -> Content:
    """Read the stages' outputs. Raises StageError naming the file that is missing or damaged."""
    model_file = workspace.input("models/model.json")
    model = {"flags": [], "stopped": "", "score": "", **artifacts.read_json(model_file, *_MODEL)}
    logistic = model["params"]["loss"] in _LOGISTIC
    said = "probability" if logistic else "logit"
    judge_file = workspace.input("models/features/features.json")
    judge = artifacts.read_json(judge_file, "network", "params")
    accuracy, metrics = None, list(_METRICS)
    if judge["network"] != "none":
        judge = artifacts.read_json(judge_file, "sha256", "parameters", *judge)
        accuracy = artifacts.read_json(workspace.input("reports/features.json"), "judge_accuracy")["judge_accuracy"]
        metrics += _JUDGED_METRICS
    return Content(
        data=manifest.read(workspace.input("data/prepared/manifest.json").parent),
        statistics=_table(
            workspace.input("reports/data/classes.csv"), "split", "class", "images", "mean", "std", "min", "max"
        ),
        rejected=_table(workspace.input("reports/data/rejected.csv"), "reason", "images"),
        judge=judge,
        accuracy=accuracy,
        model=model,
        score=model["score"],
        stopped=model["stopped"],
        flags=_flags(model_file, model["flags"]),
        logistic=logistic,
        metrics=artifacts.read_json(workspace.input("reports/metrics.json"), *metrics),
        modes=_table(workspace.input("reports/modes.csv"), "class", "generated", "real"),
        curves={
            **{name: _curve(workspace, name) for name in ("loss/discriminator", "loss/generator", "score")},
            "said/real": _curve(workspace, f"{said}/real"),
            "said/fake": _curve(workspace, f"{said}/fake"),
        },
        pictures={
            name: _picture(workspace.input(f"reports/samples/{name}.png"))
            for name in ("grid", "real", "timeline", "interpolation")
        }
        | {"contact_sheet": _picture(workspace.input("reports/data/contact_sheet.png"))},
    )


def _hashes(content: Content) -> dict[str, str]:
    """What the pictures came from, by name and SHA-256."""
    judge = {} if content.accuracy is None else {"judge.keras": content.judge["sha256"]}
    return {
        **{file["name"]: file["sha256"] for file in content.data.source["files"]},
        **{s.name: s.sha256 for split in content.data.splits.values() for s in split.shards},
        **judge,
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
            "loss, nats" if content.logistic else "loss",
            settings.smoothing,
            best,
        ),
        "said": figures.curves(
            {"of real images": content.curves["said/real"], "of samples": content.curves["said/fake"]},
            "D's mean probability of “real”" if content.logistic else "D's mean output",
            settings.smoothing,
            best,
        ),
        "score": figures.curves({"score": content.curves["score"]}, "score", 1, best),
    }
    if content.accuracy is not None:
        shares = content.modes
        drawn["modes"] = figures.class_shares(list(shares["class"]), list(shares["generated"]), list(shares["real"]))
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
