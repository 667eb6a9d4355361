"""The report's figures as inline SVG: the same text every time, and legible on light and dark backgrounds."""

import hashlib
import io
import re
from collections.abc import Callable, Sequence
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
_MAX_LABEL = 40  # characters of a name in a legend
_INK = "#010203"  # a placeholder that `_svg` replaces with the page's text colour
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dcgan",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}


def _svg(draw: Callable[..., None], height: float = 2.8, panels: int = 1) -> str:
    """An SVG element of 7 inches by `height`, in the page's text colour; `draw` gets the axes of its panels."""
    with style.context(["default", _STYLE]):  # not the user's matplotlibrc
        figure = Figure(figsize=(7, height), layout="constrained")
        draw(*figure.subplots(1, panels, squeeze=False, sharex=panels > 1, sharey=panels > 1)[0])
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # The page has several figures, and each names its parts figure_1 and so on: make the ids unique.
    prefix = hashlib.sha256(text.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)


def _plain(name: str) -> str:
    """A name that matplotlib shows unchanged: a $ would start mathematics, a leading _ would hide it in a legend."""
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def _images_axis(axes: Axes) -> None:
    axes.set_xlabel("images seen")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")


def curves(series: dict[str, pd.DataFrame], label: str, smoothing: int, marked: int | None = None) -> str:
    """Lines over images seen, of frames with the columns step and value. `marked` adds a line at the checkpoint."""

    def draw(axes: Axes) -> None:
        for colour, (name, frame) in zip((BLUE, ORANGE, GREEN), series.items(), strict=False):
            if len(frame) > 2 * smoothing and smoothing > 1:
                axes.plot(frame["step"], frame["value"], color=colour, alpha=0.25, linewidth=0.8)
                smooth = frame["value"].rolling(smoothing, center=True, min_periods=1).mean()
                axes.plot(frame["step"], smooth, color=colour, linewidth=1.8, label=name)
            else:
                axes.plot(frame["step"], frame["value"], color=colour, marker="o", markersize=4, label=name)
        if marked is not None:
            axes.axvline(marked, color=_INK, linewidth=1, linestyle=":", label="chosen checkpoint")
        axes.set_ylabel(label)
        if all((frame["value"] >= 0).all() for frame in series.values()):
            axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        _images_axis(axes)

    return _svg(draw)


def class_shares(classes: Sequence[str], generated: Sequence[float], real: Sequence[float]) -> str:
    """Bars of each class's share among the samples, with a mark at its share in the data."""

    def draw(axes: Axes) -> None:
        rows = range(len(classes))
        axes.barh(rows, [100 * share for share in generated], color=BLUE, label="generated")
        axes.scatter([100 * share for share in real], rows, color=ORANGE, marker="|", s=220, zorder=3, label="data")
        axes.set_yticks(rows, [_plain(name) for name in classes])
        axes.invert_yaxis()
        axes.set_xlabel("share of images, %")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return _svg(draw, height=0.9 + 0.28 * len(classes))


def confusion(counts: pd.DataFrame) -> str:
    """A square of shades: the share of each row's images in each column. Percentages are written in few classes."""
    names = [_plain(str(name)) for name in counts.index]
    shown = counts.to_numpy(float)
    shown = 100 * shown / shown.sum(1, keepdims=True).clip(min=1)

    def draw(axes: Axes) -> None:
        axes.imshow(shown, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("class according to the judge")
        axes.set_ylabel("class asked for")
        if len(names) <= _WRITTEN:
            for (row, column), share in np.ndenumerate(shown):
                # The shades have colours of their own, so these are black and white in both colour schemes.
                axes.text(
                    column, row, f"{share:.0f}", ha="center", va="center", color=("white", "black")[int(share < 50)]
                )

    return _svg(draw, height=min(1.6 + 0.42 * len(names), 9))


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


def clusters(points: pd.DataFrame) -> str:
    """Real and generated points side by side, coloured by class: columns kind (real, generated), class, x, y.

    With more than 35 classes, the rarest become one group.
    """
    names = list(points["class"].value_counts().index)
    if len(names) > _GROUPS:
        names = [*names[: _GROUPS - 1], _OTHERS]
        points = points.assign(**{"class": points["class"].where(points["class"].isin(names), _OTHERS)})
    names.sort(key=lambda name: (name == _OTHERS, name))
    labels = [name if len(name) <= _MAX_LABEL else name[: _MAX_LABEL - 1] + "…" for name in names]
    columns = max(1, min(5, 70 // (4 + max(map(len, labels)))))
    styles = [(mark, colour) for mark in _MARKS for colour in _COLOURS]

    def draw(*panels: Axes) -> None:
        for axes, kind in zip(panels, ("real", "generated"), strict=True):
            for name, (mark, colour) in zip(names, styles, strict=False):
                group = points[(points["kind"] == kind) & (points["class"] == name)]
                axes.plot(group["x"], group["y"], mark, color=colour, markersize=2.6, markeredgewidth=0)
            axes.set_title(kind, fontsize=11)
            axes.set_xticks([])
            axes.set_yticks([])
        if any(names):
            handles = [
                Line2D([], [], marker=mark, color=colour, linestyle="", label=_plain(label))
                for label, (mark, colour) in zip(labels, styles, strict=False)
            ]
            panels[0].figure.legend(
                handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
            )

    return _svg(draw, height=3.6 + 0.25 * -(-len(names) // columns), panels=2)
