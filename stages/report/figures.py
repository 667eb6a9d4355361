"""The report's figures as inline SVG: the same text every time, and legible on light and dark backgrounds."""

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Okabe, Ito 2008: distinguishable with every kind of colour blindness, on white and on black.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
# More than seven groups get other marks as well.
_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#999999")
_MARKS = ("o", "^", "s", "D", "v")
_GROUPS = len(_COLOURS) * len(_MARKS)
_OTHERS = "other classes"
_WRITTEN = 16  # classes in a confusion matrix whose shares are written as numbers
_MAX_LABEL, _MAX_SHORT_LABEL = 28, 16  # characters of a name, in figures of few and of many classes
_MAX_BARS = 25  # classes in a panel of bars
_MAX_PANELS = 4
_INK = "#010203"  # a placeholder that `_svg` replaces with the page's text colour
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dcgan",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}

_ABOVE: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False, "borderaxespad": 0.2}


def _svg(draw: Callable[..., None], height: float = 3, width: float = 5, panels: int = 1) -> str:
    """An SVG element of `width` by `height` inches, in the page's text colour; `draw` gets the axes of its panels.

    A figure of 5 inches is a third or half of a row on a wide screen, and a whole row on a phone: its text can be read
    on both. One of 10 inches is a whole row, and its text is smaller.
    """
    with style.context(["default", _STYLE, {"font.size": 10 if width == 5 else 7}]):  # not the user's matplotlibrc
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(*figure.subplots(1, panels, squeeze=False, sharex=panels > 1)[0])
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # The page has several figures, and each names its parts figure_1 and so on: make the ids unique.
    prefix = hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)


def _label(name: str, limit: int = _MAX_LABEL) -> str:
    """A name that matplotlib shows unchanged: a $ would start mathematics, a leading _ would hide it in a legend.

    Only the beginning of a long name, which would leave no room for the figure.
    """
    name = name if len(name) <= limit else name[: limit - 1] + "…"
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def _images_axis(axes: Axes) -> None:
    axes.set_xlabel("images seen")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")


def curves(
    series: dict[str, pd.DataFrame],
    label: str,
    smoothing: int,
    marked: int | None = None,
    levels: Mapping[str, float | None] | None = None,
) -> str:
    """Lines over images seen, of frames with the columns step and value. `marked` adds a line at the checkpoint.

    `levels`: dashed horizontal lines at these values, each in the colour of the series of its name.
    """

    def draw(axes: Axes) -> None:
        for colour, (name, frame) in zip((BLUE, ORANGE, GREEN), series.items(), strict=False):
            if len(frame) > 2 * smoothing and smoothing > 1:
                axes.plot(frame["step"], frame["value"], color=colour, alpha=0.25, linewidth=0.8)
                axes.plot(frame["step"], smooth(frame["value"], smoothing), color=colour, linewidth=1.8, label=name)
            else:
                axes.plot(frame["step"], frame["value"], color=colour, marker="o", markersize=4, label=name)
            level = (levels or {}).get(name)
            if level is not None:
                axes.axhline(level, color=colour, linewidth=1, linestyle="--", alpha=0.7)
        if marked is not None:
            axes.axvline(marked, color=_INK, linewidth=1, linestyle=":", label="chosen checkpoint")
        axes.set_ylabel(label)
        if max(map(len, series.values())) == 1:  # else the axis would end just beside the point
            axes.set_xlim(left=0)
        if all((frame["value"] >= 0).all() for frame in series.values()):
            axes.set_ylim(bottom=0)
        axes.legend(**_ABOVE, ncols=2)
        _images_axis(axes)

    return _svg(draw)


def smooth(values: pd.Series, smoothing: int) -> pd.Series:
    """The running mean over `smoothing` values; over fewer at both ends."""
    return values.rolling(smoothing, center=True, min_periods=1).mean()


def class_shares(classes: Sequence[str], generated: Sequence[float], real: Sequence[float]) -> str:
    """Bars of each class's share among the samples, with a mark at its share in the data.

    More than 25 classes are in two to four panels side by side.
    """
    panels = min(_MAX_PANELS, -(-len(classes) // _MAX_BARS))
    rows = -(-len(classes) // panels)

    def draw(*axes_of_panels: Axes) -> None:
        for panel, axes in enumerate(axes_of_panels):
            shown = slice(panel * rows, (panel + 1) * rows)
            names = [_label(name, _MAX_LABEL if panels == 1 else _MAX_SHORT_LABEL) for name in classes[shown]]
            places = range(len(names))
            axes.barh(places, [100 * share for share in generated[shown]], color=BLUE, label="samples")
            axes.scatter(
                [100 * share for share in real[shown]], places, color=ORANGE, marker="|", s=150, zorder=3, label="data"
            )
            axes.set_yticks(places, names)
            axes.set_ylim(rows - 0.4, -0.6)
            axes.set_xlabel("share of images, %")
        axes_of_panels[0].legend(**_ABOVE, ncols=2)

    if panels == 1:
        return _svg(draw, height=0.9 + 0.22 * rows)
    return _svg(draw, height=0.7 + 0.16 * rows, width=10, panels=panels)


def confusion(counts: pd.DataFrame) -> str:
    """A square of shades: the share of each row's images in each column. Percentages are written in few classes."""
    few = len(counts) <= _WRITTEN
    names = [_label(str(name), _MAX_LABEL if few else _MAX_SHORT_LABEL) for name in counts.index]
    shown = counts.to_numpy(float)
    shown = 100 * shown / shown.sum(1, keepdims=True).clip(min=1)
    width = 5 if few else 10
    size = min(10, 45 * width / len(names))  # points of the names, which must not touch each other

    def draw(axes: Axes) -> None:
        axes.imshow(shown, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(names)), names, rotation=45 if few else 90, ha="right", fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.set_xlabel("class according to the judge")
        axes.set_ylabel("class asked for")
        if few:
            for (row, column), share in np.ndenumerate(shown):
                # The shades have colours of their own, so these are black and white in both colour schemes.
                colour = "black" if share < 50 else "white"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=size, color=colour)

    return _svg(draw, height=0.95 * width, width=width)


def shares(values: dict[str, float]) -> str:
    """Bars of metrics that are 1 if the samples are like the data."""

    def draw(axes: Axes) -> None:
        rows = range(len(values))
        bars = axes.barh(rows, list(values.values()), color=BLUE)
        axes.bar_label(bars, [f"{value:.2f}" for value in values.values()], padding=4)
        axes.axvline(1, color=_INK, linewidth=1, linestyle=":")
        axes.set_yticks(rows, list(values))
        axes.invert_yaxis()
        axes.set_xlim(0, 1.15 * max(1, *values.values()))

    return _svg(draw, height=0.6 + 0.36 * len(values))


def clusters(points: pd.DataFrame) -> dict[str, str]:
    """A figure for each kind of points, real and generated, coloured by class: columns kind, class, x, y.

    All have the same axes and the same legend. With more than 35 classes, the rarest become one group.
    """
    names = list(points["class"].value_counts().index)
    if len(names) > _GROUPS:
        names = [*names[: _GROUPS - 1], _OTHERS]
        points = points.assign(**{"class": points["class"].where(points["class"].isin(names), _OTHERS)})
    names.sort(key=lambda name: (name == _OTHERS, name))
    return {kind: _cloud(points, kind, names) for kind in ("real", "generated")}


def _cloud(points: pd.DataFrame, kind: str, names: Sequence[str]) -> str:
    """The points of one kind, in axes that have room for all points."""
    labels = [_label(name, _MAX_SHORT_LABEL) for name in names]
    columns = max(1, min(4, 60 // (4 + max(map(len, labels)))))
    styles = [(mark, colour) for mark in _MARKS for colour in _COLOURS]

    def draw(axes: Axes) -> None:
        for name, (mark, colour) in zip(names, styles, strict=False):
            group = points[(points["kind"] == kind) & (points["class"] == name)]
            axes.plot(group["x"], group["y"], mark, color=colour, markersize=2.6, markeredgewidth=0)
        axes.set(xlim=_range(points["x"]), ylim=_range(points["y"]), xticks=[], yticks=[])
        if any(names):
            handles = [
                Line2D([], [], marker=mark, color=colour, linestyle="", label=label)
                for label, (mark, colour) in zip(labels, styles, strict=False)
            ]
            axes.figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)

    return _svg(draw, height=3.6 + 0.2 * -(-len(names) // columns))


def _range(values: pd.Series) -> tuple[float, float]:
    """The range of the values with a margin."""
    margin = 0.05 * (values.max() - values.min()) or 1.0
    return values.min() - margin, values.max() + margin
