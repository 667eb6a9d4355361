"""Claims about DCGANs, tested on the cells of the study `claims`: a figure, a table and a verdict for each.

    python -m studies repro studies/dvc.yaml:page    # run the missing and stale cells, then write the page
    python -m studies.claims                   # write studies/README.md and the figures from the existing cells

A comparison is decided if Welch's t-test over the seeds gives p < 0.05. Three seeds decide only large differences.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib import style
from matplotlib.figure import Figure
from scipy import stats

from stages import artifacts, shell, templates
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
    """A number of a cell: its heading in a table, and its format."""

    heading: str
    spec: str
    unit: float = 1

    def text(self, values: Sequence[float]) -> str:
        """Mean ± standard deviation over seeds; only the mean if all values are equal."""
        if any(value == float("inf") for value in values):
            finite = [value for value in values if value != float("inf")]
            return f"not reached ({len(finite)} of {len(values)} did)" if finite else "not reached"
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
    """The claim that `metric` of `variant` is higher (or lower) than that of the base variant."""

    variant: str
    metric: str
    higher: bool
    words: str


@dataclass(frozen=True)
class Claim:
    """A claim with its source, its variants, and the comparisons that decide it."""

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
        "Batch normalisation stabilises learning and prevents mode collapse. On every layer, also on G's last and D's "
        "first, it makes training oscillate (Radford, Metz, Chintala 2016, arXiv:1511.06434, section 3).",
        (BASE, "batch_norm_none", "batch_norm_all"),
        ("fid", "modes_covered", "mode_kl", "recall", "flagged"),
        (
            Comparison("batch_norm_none", "mode_kl", True, "without it, the classes are covered less evenly (KL)"),
            Comparison("batch_norm_none", "fid", True, "without it, the FID is higher"),
            Comparison("batch_norm_all", "fid", True, "on all layers, the FID is higher than on those of the paper"),
        ),
    ),
    Claim(
        "head",
        "D's head",
        "D needs no fully connected layer: its last convolution can give the output. Global average pooling is more "
        "stable, but slows convergence (Radford, Metz, Chintala 2016, section 3).",
        (BASE, "head_dense", "head_gap"),
        ("discriminator", "fid", "modes_covered", "images_to_reach", "flagged"),
        (
            Comparison("head_dense", "fid", True, "with a fully connected layer, the FID is higher"),
            Comparison("head_gap", "images_to_reach", True, "with pooling, the same FID needs more images"),
        ),
    ),
    Claim(
        "activations",
        "Activations",
        "LeakyReLU works well in D, and ReLU in G (Radford, Metz, Chintala 2016, section 3). The comparisons test a "
        "stronger claim of this project: every other activation is worse.",
        (BASE, "d_relu", "d_elu", "d_maxout", "d_tanh", "g_tanh"),
        ("discriminator", "fid", "modes_covered", "mode_kl", "flagged"),
        (
            Comparison("d_relu", "fid", True, "with ReLU in D, the FID is higher"),
            Comparison("d_elu", "fid", True, "with ELU in D, the FID is higher"),
            Comparison("d_maxout", "fid", True, "with maxout in D, the FID is higher"),
            Comparison("d_tanh", "fid", True, "with tanh in D, the FID is higher"),
            Comparison("g_tanh", "fid", True, "with tanh in G, the FID is higher"),
        ),
    ),
    Claim(
        "upsampling",
        "Up-sampling",
        "Resizing before a convolution leaves less of a checkerboard than a transposed convolution (Odena, Dumoulin, "
        "Olah 2016, doi:10.23915/distill.00003). This project's own claim: resizing gives a higher FID.",
        (BASE, "upsampling_resize"),
        ("generator", "fid", "modes_covered", "checkerboard"),
        (
            Comparison("upsampling_resize", "checkerboard", False, "resizing leaves less of a checkerboard"),
            Comparison("upsampling_resize", "fid", True, "with resizing, the FID is higher"),
        ),
        "The base has fractionally-strided convolutions, which insert zeros. A transposed convolution is the same map "
        "with the kernel flipped (`tests/networks/test_networks.py` shows it), so one variant covers both. The "
        "checkerboard is the power of the samples at a period of two pixels (the stride) over the power at the "
        "neighbouring periods (real images: {real:.3f}).",
    ),
    Claim(
        "loss",
        "The minimax loss",
        "With the minimax loss (min over G, max over D of E[log D(x)] + E[log(1 − D(G(z)))]), G gets too little "
        "gradient to learn well, because log(1 − D(G(z))) saturates early in training (Goodfellow et al. 2014, "
        "arXiv:1406.2661, section 3). The base has the non-saturating loss that they propose instead.",
        (BASE, "loss_minimax"),
        ("fid", "modes_covered", "mode_kl", "images_to_reach", "flagged"),
        (Comparison("loss_minimax", "fid", True, "with it, the FID is higher than with the non-saturating loss"),),
    ),
)


@dataclass(frozen=True)
class Variant:
    """The cells of one variant: each metric's value for each seed, and the scores during training."""

    values: dict[str, list[float]]
    images: list[int]
    scores: np.ndarray  # (seeds, scores)


def images_to_reach(scores: Sequence[Mapping[str, float]], threshold: float) -> float:
    """The number of images at which the score first reaches the threshold, by linear interpolation; inf if never."""
    for before, after in zip([None, *scores], scores, strict=False):
        if after["score"] <= threshold:
            if before is None:
                return float(after["images"])
            fraction = (before["score"] - threshold) / (before["score"] - after["score"])
            return before["images"] + fraction * (after["images"] - before["images"])
    return float("inf")


def gather(results: Mapping[str, Sequence[Mapping[str, Any]]], threshold: float) -> dict[str, Variant]:
    """The numbers of every variant's cells, by variant. `threshold` is the score for `images_to_reach`.

    A cell that ended early keeps its last score to the end, because its networks no longer change. If it ended because
    it was bad, leaving it out would flatter the mean.
    """
    variants = {}
    for name, cells in results.items():
        values: dict[str, list[float]] = {
            metric: [float(result["metrics"][metric]) for result in cells]
            for metric in METRICS
            if metric in cells[0]["metrics"]
        }
        values["flagged"] = [float(bool(result["flags"])) for result in cells]
        values["images_to_reach"] = [images_to_reach(result["scores"], threshold) for result in cells]
        for network in ("discriminator", "generator"):
            values[network] = [float(result["parameters"][network]) for result in cells]
        curves = [
            ([score["images"] for score in result["scores"]], [score["score"] for score in result["scores"]])
            for result in cells
        ]
        images = max((seen for seen, _ in curves), key=len)
        scores = np.stack([np.interp(images, seen, curve) for seen, curve in curves])
        variants[name] = Variant(values, images, scores)
    return variants


@dataclass(frozen=True)
class Finding:
    """The verdict on a comparison, its words and its numbers."""

    verdict: str
    words: str
    numbers: str


def decide(comparison: Comparison, variants: Mapping[str, Variant]) -> Finding:
    """Supported or contradicted if the difference is decided, else undecided."""
    metric = METRICS[comparison.metric]
    base, other = (variants[name].values[comparison.metric] for name in (BASE, comparison.variant))
    numbers = f"{metric.text(other)} against {metric.text(base)}"
    if any(np.isinf([*base, *other])):
        # A score that is never reached has no number to test, so the comparison is decided only if all seeds agree.
        all_higher, all_lower = min(other) > max(base), max(other) < min(base)
        decided, higher, chance = all_higher or all_lower, all_higher, ""
    else:
        higher = statistics.fmean(other) > statistics.fmean(base)
        if len(set(base)) == len(set(other)) == 1:  # the test needs some spread
            p = float(base == other)
        else:
            p = float(stats.ttest_ind(other, base, equal_var=False).pvalue)
        decided, chance = p < _LEVEL, f", p = {p:.2g}"
    verdict = "undecided" if not decided else "supported" if higher == comparison.higher else "contradicted"
    return Finding(verdict, comparison.words, numbers + chance)


def overall_verdict(findings: Sequence[Finding]) -> str:
    """A claim's verdict, from the verdicts on its comparisons."""
    verdicts = {finding.verdict for finding in findings}
    if len(verdicts) == 1:
        return {"undecided": "undecided at this budget"}.get(*verdicts, *verdicts)
    return "partly supported" if "supported" in verdicts else "contradicted or undecided"


def draw(claim: Claim, variants: Mapping[str, Variant], path: Path) -> None:
    """Plot the score over images seen: each variant's mean, and a band from its lowest to its highest seed."""
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


def complete_cells() -> dict[str, list[dict[str, Any]]]:
    """The cells of each variant that has all seeds. Raises StageError if the base does not."""
    names = yaml.safe_load(Path(f"studies/{STUDY}.yaml").read_text(encoding="utf-8"))
    matrix = yaml.safe_load(Path("studies/dvc.yaml").read_text(encoding="utf-8"))["stages"][STUDY]["matrix"]
    complete = {}
    for name in names:
        paths = [cell.RESULTS / STUDY / f"{name}-{seed}.json" for seed in matrix["seed"]]
        if all(path.is_file() for path in paths):
            complete[name] = [artifacts.read_json(path, "metrics", "scores", "flags", "parameters") for path in paths]
        elif name == BASE:
            raise StageError(
                f"{paths[0]}: this or another seed is missing; run `python -m studies repro studies/dvc.yaml:claims`"
            )
    return complete


def complete_claims(results: Mapping[str, object]) -> list[Claim]:
    """The claims whose variants have all their cells."""
    return [claim for claim in CLAIMS if set(claim.variants) <= set(results)]


def _section(claim: Claim, variants: Mapping[str, Variant], threshold: float, real: float) -> dict[str, Any]:
    """The template's values for one claim. `real` is the checkerboard of real images."""
    findings = [decide(comparison, variants) for comparison in claim.comparisons]
    rows = [
        [f"`{name}`", *(METRICS[metric].text(variants[name].values[metric]) for metric in claim.metrics)]
        for name in claim.variants
    ]
    return {
        "claim": claim,
        "findings": findings,
        "verdict": overall_verdict(findings),
        "rows": rows,
        "headings": [METRICS[metric].heading.format(threshold=threshold) for metric in claim.metrics],
        "note": claim.note.format(real=real),
    }


def render(results: Mapping[str, list[dict[str, Any]]]) -> str:
    """The text of studies/README.md."""
    base = results[BASE]
    # Slightly above the base's final scores, so that every seed of the base reaches it.
    threshold = 1.1 * max(result["scores"][-1]["score"] for result in base)
    variants, complete = gather(results, threshold), complete_claims(results)
    real = base[0]["metrics"]["checkerboard_real"]
    template = templates.environment(Path(__file__).parent, html=False).get_template("README.md.j2")
    return template.render(
        claims=[_section(claim, variants, threshold, real) for claim in complete],
        waiting=[claim for claim in CLAIMS if claim not in complete],
        seeds=len(base),
        cells=sum(map(len, results.values())),
        images=base[0]["images_seen"],
        samples=base[0]["metrics"]["protocol"]["samples"],
        environment=base[0]["environment"],
    )


def main() -> None:
    """Write the README and the figures."""
    os.chdir(cell.ROOT)
    results = complete_cells()
    text = render(results)
    variants = gather(results, 0)
    FIGURES.mkdir(exist_ok=True)
    for claim in complete_claims(results):
        draw(claim, variants, FIGURES / f"{claim.name}.svg")
    README.write_text(text, encoding="utf-8")
    shell.say(f"wrote {README}")


if __name__ == "__main__":
    shell.run_command(main)
