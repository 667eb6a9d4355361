"""The seed document's claims, held against the cells of the study: figures, tables and a sentence for each.

    dvc repro studies/dvc.yaml:page            # after the cells that are missing or stale: all of it
    python -m studies.claims                   # studies/README.md and the figures from the cells that are there

A comparison is decided where Welch's t-test over the seeds gives p < 0.05; with three seeds only large differences are.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from matplotlib import style
from matplotlib.figure import Figure
from scipy import stats

from stages import artifacts, shell
from stages.errors import StageError
from studies import cell

STUDY = "claims"
README = Path("studies/README.md")
FIGURES = Path("studies/figures")
BASE = "dcgan"
_LEVEL = 0.05
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe, Ito 2008


@dataclass(frozen=True)
class Metric:
    """A number of a cell: its heading in a table, and how it is printed."""

    heading: str
    spec: str
    unit: float = 1

    def shown(self, values: Sequence[float]) -> str:
        """Mean ± standard deviation over seeds; the mean alone where all are the same."""
        if any(value == float("inf") for value in values):
            reached = [value for value in values if value != float("inf")]
            return f"not reached ({len(reached)} of {len(values)} did)" if reached else "not reached"
        mean, deviation = statistics.fmean(values) / self.unit, statistics.stdev(values) / self.unit
        return format(mean, self.spec) + (f" ± {format(deviation, self.spec)}" if deviation else "")


METRICS = {
    "fid": Metric("FID", ".1f"),
    "modes_covered": Metric("classes covered", ".3g"),
    "mode_kl": Metric("KL, nats", ".3f"),
    "recall": Metric("recall", ".2f"),
    "images_to_reach": Metric("thousands of images to FID {threshold:.0f}", ".1f", 1000),
    "checkerboard": Metric("checkerboard", ".3f"),
    "discriminator": Metric("parameters of D", ",.0f"),
    "generator": Metric("parameters of G", ",.0f"),
    "flagged": Metric("share flagged", ".2g"),
}


@dataclass(frozen=True)
class Comparison:
    """What a claim says: that `metric` of `other` is higher than that of the base variant (or lower)."""

    other: str
    metric: str
    higher: bool
    words: str


@dataclass(frozen=True)
class Claim:
    """A claim of the seed document, the variants it is about, and the comparisons that decide it."""

    name: str
    title: str
    says: str
    variants: tuple[str, ...]
    metrics: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    note: str = ""


CLAIMS = (
    Claim(
        "batch_norm",
        "Batch normalisation",
        "Batch normalisation steadies the training and counters mode collapse; on G's last and D's first layer it "
        "makes the training oscillate.",
        (BASE, "batch_norm_none", "batch_norm_all"),
        ("fid", "modes_covered", "mode_kl", "recall", "flagged"),
        (
            Comparison("batch_norm_none", "mode_kl", True, "without it the classes are less evenly covered (KL)"),
            Comparison("batch_norm_none", "fid", True, "without it the FID is higher"),
            Comparison("batch_norm_all", "fid", True, "on all layers the FID is higher than on those of the paper"),
        ),
    ),
    Claim(
        "head",
        "D's end",
        "Global average pooling takes any image size and has fewer parameters than a fully connected layer, but may "
        "converge more slowly; the plan decides for convolutions straight at the end.",
        (BASE, "head_dense", "head_gap"),
        ("discriminator", "fid", "modes_covered", "images_to_reach", "flagged"),
        (
            Comparison("head_dense", "fid", True, "with a fully connected layer the FID is higher"),
            Comparison("head_gap", "images_to_reach", True, "with pooling it takes more images to the same FID"),
        ),
    ),
    Claim(
        "activations",
        "Activations",
        "In D the leaky ReLU is best (ReLU's neurons die, maxout is strong at many more parameters); in G tanh "
        "saturates, and ReLU does not. The function that the document prints as leaky ReLU is ELU.",
        (BASE, "d_relu", "d_elu", "d_maxout", "d_tanh", "g_tanh"),
        ("discriminator", "fid", "modes_covered", "mode_kl", "flagged"),
        (
            Comparison("d_relu", "fid", True, "with ReLU in D the FID is higher"),
            Comparison("d_elu", "fid", True, "with ELU in D the FID is higher"),
            Comparison("d_maxout", "fid", True, "with maxout in D the FID is higher"),
            Comparison("d_tanh", "fid", True, "with tanh in D the FID is higher"),
            Comparison("g_tanh", "fid", True, "with tanh in G the FID is higher"),
        ),
    ),
    Claim(
        "upsampling",
        "Up-sampling",
        "Transposed and fractionally-strided convolution differ in their padding.",
        (BASE, "upsampling_resize"),
        ("generator", "fid", "modes_covered", "checkerboard"),
        (
            Comparison("upsampling_resize", "checkerboard", False, "resizing leaves less of a checkerboard"),
            Comparison("upsampling_resize", "fid", True, "with resizing the FID is higher"),
        ),
        "The document's two are one map with the kernel flipped (`tests/test_networks.py` shows it), so there is "
        "nothing to compare between them. What is compared is zero insertion, the base, against resizing before a "
        "convolution. The checkerboard is the power of the samples at a period of two pixels, the stride's, over that "
        "just beside it (real images: {real:.3f}).",
    ),
    Claim(
        "loss",
        "The loss of the document's figure 2",
        "min over G, max over D of E[log D(x)] + E[log(1 − D(G(z)))].",
        (BASE, "loss_minimax"),
        ("fid", "modes_covered", "mode_kl", "images_to_reach", "flagged"),
        (
            Comparison(
                "loss_minimax", "fid", True, "to the letter, the FID is higher than with the non-saturating loss"
            ),
        ),
        "That it should be worse is not the document's claim but that of Goodfellow et al. 2014 (arXiv:1406.2661, "
        "section 3): early on log(1 − D(G(z))) saturates. The base has the non-saturating loss that they propose.",
    ),
)


@dataclass(frozen=True)
class Variant:
    """The cells of one variant: each metric's value for each seed, and the scores on the way."""

    values: dict[str, list[float]]
    images: list[int]
    scores: np.ndarray  # (seeds, scores)


def reached(scores: Sequence[Mapping[str, float]], threshold: float) -> float:
    """After how many images the score first was at the threshold, between two scores by a straight line; inf: never."""
    for before, after in zip([None, *scores], scores, strict=False):
        if after["score"] <= threshold:
            if before is None:
                return float(after["images"])
            part = (before["score"] - threshold) / (before["score"] - after["score"])
            return before["images"] + part * (after["images"] - before["images"])
    return float("inf")


def gather(results: Mapping[str, Sequence[Mapping[str, Any]]], threshold: float) -> dict[str, Variant]:
    """The numbers of every variant's cells, by variant. `threshold` is the score that is to be reached.

    A cell that ended early keeps its last score to the end, as its networks stay what they are: to leave it out would
    flatter the mean of the others where it ended for being bad.
    """
    found = {}
    for name, cells in results.items():
        values: dict[str, list[float]] = {
            metric: [float(one["metrics"][metric]) for one in cells]
            for metric in METRICS
            if metric in cells[0]["metrics"]
        }
        values["flagged"] = [float(bool(one["flags"])) for one in cells]
        values["images_to_reach"] = [reached(one["scores"], threshold) for one in cells]
        for network in ("discriminator", "generator"):
            values[network] = [float(one["parameters"][network]) for one in cells]
        curves = [
            ([score["images"] for score in one["scores"]], [score["score"] for score in one["scores"]]) for one in cells
        ]
        images = max((seen for seen, _ in curves), key=len)
        scores = np.stack([np.interp(images, seen, curve) for seen, curve in curves])
        found[name] = Variant(values, images, scores)
    return found


@dataclass(frozen=True)
class Finding:
    """What the cells say of a comparison."""

    verdict: str
    words: str
    numbers: str


def decide(comparison: Comparison, variants: Mapping[str, Variant]) -> Finding:
    """Borne out or not borne out where the difference is decided, else undecided at this budget."""
    metric = METRICS[comparison.metric]
    base, other = (variants[name].values[comparison.metric] for name in (BASE, comparison.other))
    numbers = f"{metric.shown(other)} against {metric.shown(base)}"
    if any(np.isinf([*base, *other])):
        # Never is more than any number of images, and no test can weigh it: decided only where all seeds agree.
        all_higher, all_lower = min(other) > max(base), max(other) < min(base)
        decided, higher, chance = all_higher or all_lower, all_higher, ""
    else:
        higher = statistics.fmean(other) > statistics.fmean(base)
        if len(set(base)) == len(set(other)) == 1:  # no spread, which the test cannot weigh
            p = float(base == other)
        else:
            p = float(stats.ttest_ind(other, base, equal_var=False).pvalue)
        decided, chance = p < _LEVEL, f", p = {p:.2g}"
    verdict = "undecided" if not decided else "borne out" if higher == comparison.higher else "not borne out"
    return Finding(verdict, comparison.words, numbers + chance)


def overall(findings: Sequence[Finding]) -> str:
    """A claim's verdict: that of its comparisons where they agree, else in part."""
    verdicts = {finding.verdict for finding in findings}
    if len(verdicts) == 1:
        return {"undecided": "undecided at this budget"}.get(*verdicts, *verdicts)
    return "borne out in part" if "borne out" in verdicts else "not borne out, or undecided"


def draw(claim: Claim, variants: Mapping[str, Variant], path: Path) -> None:
    """The score over images seen, a line for each variant's mean and a band from its lowest to its highest seed."""
    plain = {"svg.fonttype": "none", "svg.hashsalt": "dcgan", "axes.spines.top": False, "axes.spines.right": False}
    with style.context(["default", plain]):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots()
        for colour, name in zip(_COLOURS, claim.variants, strict=False):
            variant = variants[name]
            axes.plot(variant.images, variant.scores.mean(0), color=colour, marker="o", markersize=3, label=name)
            axes.fill_between(
                variant.images, variant.scores.min(0), variant.scores.max(0), color=colour, alpha=0.2, linewidth=0
            )
        axes.set_xlabel("images seen")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k")
        axes.set_ylabel("Fréchet distance, 2,000 samples")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def cells() -> dict[str, list[dict[str, Any]]]:
    """The cells of each variant that has all of its seeds. Raises StageError where the base has not."""
    names = yaml.safe_load(Path(f"studies/{STUDY}.yaml").read_text(encoding="utf-8"))
    matrix = yaml.safe_load(Path("studies/dvc.yaml").read_text(encoding="utf-8"))["stages"][STUDY]["matrix"]
    found = {}
    for name in names:
        paths = [cell.RESULTS / STUDY / f"{name}-{seed}.json" for seed in matrix["seed"]]
        if all(path.is_file() for path in paths):
            found[name] = [artifacts.read_json(path, "metrics", "scores", "flags", "parameters") for path in paths]
        elif name == BASE:
            raise StageError(f"{paths[0]} and on: missing; `dvc repro studies/dvc.yaml:claims` makes them")
    return found


def measured(results: Mapping[str, object]) -> list[Claim]:
    """The claims of whose variants all cells are there."""
    return [claim for claim in CLAIMS if set(claim.variants) <= set(results)]


def render(results: Mapping[str, list[dict[str, Any]]]) -> str:
    """The text of studies/README.md."""
    base = results[BASE]
    # What the base reaches in the end, and somewhat more, so that all of its seeds do.
    threshold = 1.1 * max(one["scores"][-1]["score"] for one in base)
    variants = gather(results, threshold)
    claims = []
    for claim in measured(results):
        findings = [decide(comparison, variants) for comparison in claim.comparisons]
        rows = [
            [f"`{name}`", *(METRICS[metric].shown(variants[name].values[metric]) for metric in claim.metrics)]
            for name in claim.variants
        ]
        headings = [METRICS[metric].heading.format(threshold=threshold) for metric in claim.metrics]
        note = claim.note.format(real=base[0]["metrics"]["checkerboard_real"])
        claims.append(
            {"claim": claim, "findings": findings, "verdict": overall(findings)}
            | {"rows": rows, "headings": headings, "note": note}
        )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 - Markdown of our own words and numbers
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("README.md.j2").render(
        claims=claims,
        waiting=[claim for claim in CLAIMS if claim not in measured(results)],
        seeds=len(base),
        cells=sum(map(len, results.values())),
        images=base[0]["images_seen"],
        samples=base[0]["metrics"]["protocol"]["samples"],
        environment=base[0]["environment"],
    )


def main() -> None:
    """Write the README and the figures."""
    os.chdir(cell.ROOT)
    results = cells()
    text = render(results)
    variants = gather(results, 0)
    FIGURES.mkdir(exist_ok=True)
    for claim in measured(results):
        draw(claim, variants, FIGURES / f"{claim.name}.svg")
    README.write_text(text, encoding="utf-8")
    shell.say(f"wrote {README}")


if __name__ == "__main__":
    shell.run_command(main)
