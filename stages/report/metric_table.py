"""The metrics as tables: grouped by what they measure, each beside the value of real images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.metrics.catalog import METRICS, Metric


@dataclass(frozen=True)
class _Row:
    """A metric, and what is shown in its line.

    `real`: the metric that holds its value for real images. `known`: that value in words, where it follows from the
    definition. `remarks`: metrics that help to read it, with their words, in which {} is the value. `meaning`: replaces
    that of the catalog, where that refers to its neighbour.
    """

    name: str
    real: str = ""
    known: str = ""
    remarks: Mapping[str, str] | None = None
    meaning: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All metrics of the line."""
        return (self.name, *filter(None, [self.real]), *(self.remarks or ()))


_OTHER = "Other"
_GROUPS: Mapping[str, tuple[_Row, ...]] = {
    "Quality and variety together": (
        _Row("fid", "fid_floor", remarks={"fid_bias": "Here it is about {} too high"}),
        _Row("kid", known="0", remarks={"kid_se": "Standard error: {}"}),
        _Row("swd", "swd_floor"),
        *(_Row(name) for name in METRICS if name.startswith("swd_") and name != "swd_floor"),
        _Row("class_fid"),
        _Row("class_accuracy", "class_agreement_real"),
    ),
    "Quality": (
        _Row("precision", known="nearly 1"),
        _Row("density", known="1"),
        _Row("class_agreement", "class_agreement_real"),
        _Row("class_precision", known="nearly 1"),
        _Row("checkerboard", "checkerboard_real"),
    ),
    "Variety": (
        _Row("recall", known="nearly 1"),
        _Row("coverage", known="about 1"),
        _Row(
            "class_recall",
            known="nearly 1",
            meaning="Recall of held-out images of a class among samples of it, mean over the classes",
        ),
        _Row("modes_covered", "modes_total"),
        _Row("rarest_mode"),
        _Row("mode_kl", known="0"),
        _Row("ms_ssim", "ms_ssim_real"),
    ),
    "Copies": (
        _Row(
            "memorization",
            "memorization_real",
            remarks={"memorization_low": "95 % interval: {}", "memorization_high": "to {}"},
        ),
        _Row("nearest_distance", known="1"),
        _Row("inversion"),
        _Row("inversion_train"),
        _Row("inversion_real"),
        _Row("inversion_features"),
        _Row("inversion_features_train"),
        _Row("inversion_features_real"),
        _Row("inversion_images"),
    ),
}
_ARROWS = {"lower": "↓ ", "higher": "↑ "}


@dataclass(frozen=True)
class Line:
    """A line of a table: the metric, its value, and that of real images as text (a dash if nobody measured it).

    `meaning` is what it measures. `remark` is empty or has more numbers on the value. `better` is the direction in
    words.
    """

    metric: Metric
    value: float
    real: str
    meaning: str
    remark: str
    better: str


def number(value: float) -> str:
    """A number as people read it: whole numbers with separators, others with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def tables(metrics: Mapping[str, Any], real: Mapping[str, str]) -> dict[str, tuple[Line, ...]]:
    """The lines of each group that has any. A metric that no group names is in the last one.

    `real`: values of real images that are in no metric, as text, by the metric's name. They replace what the table has.
    """
    found = {group: tuple(_lines(rows, metrics, real)) for group, rows in _GROUPS.items()}
    named = {name for rows in _GROUPS.values() for row in rows for name in row.names}
    others = [_Row(name) for name in metrics if name not in named and name != "protocol"]
    found[_OTHER] = tuple(_lines(others, metrics, real))
    return {group: lines for group, lines in found.items() if lines}


def _lines(rows: Iterable[_Row], metrics: Mapping[str, Any], real: Mapping[str, str]) -> Iterable[Line]:
    for row in rows:
        if row.name not in metrics:
            continue
        metric = METRICS.get(row.name) or Metric(row.name, row.name, "")
        measured = number(metrics[row.real]) if row.real in metrics else ""
        remarks = [
            words.format(number(metrics[name])) for name, words in (row.remarks or {}).items() if name in metrics
        ]
        yield Line(
            metric,
            metrics[row.name],
            real.get(row.name) or measured or row.known or "–",
            row.meaning or metric.meaning,
            " ".join(remarks),
            _better(metric.better),
        )


def _better(better: str) -> str:
    """The direction of a metric in words."""
    if better.removeprefix("near ") in METRICS:
        return "near real images"
    return _ARROWS.get(better, "") + (better or "–")
