"""The first screen in words: the run in one sentence, and a card for each question of a hurried reader."""

from dataclasses import dataclass
from typing import Literal

from stages.metrics.catalog import METRICS
from stages.report.contents import Contents

COPIES = {
    True: "training images are copied",
    False: "no sign that training images are copied",
    None: "whether training images are copied cannot be decided",
}
FLAGS = {
    "non_finite": "diverged",
    "discriminator_saturated": "discriminator saturated",
    "generator_collapsed": "generator collapsed",
    "exploded": "training exploded",
}


@dataclass(frozen=True)
class Card:
    """A question, the number or words that answer it, and what they mean. `sign` is empty if nothing decides."""

    question: str
    answer: str
    meaning: str
    sign: Literal["", "ok", "bad"] = ""


def verdict(contents: Contents) -> str:
    """The run in one sentence."""
    metrics, shape = contents.metrics, "×".join(map(str, contents.data.shape))
    parts = []
    if contents.network:
        parts.append(f"Fréchet distance {metrics['fid']:.1f} in {contents.network}{contents.floor}")
    if contents.has_judge:
        parts.append(f"{metrics['modes_covered']} of {metrics['modes_total']} {contents.kind} covered")
    if contents.rejection:
        parts.append("a judge failed its check")
    if not contents.network:
        parts.append(f"sliced Wasserstein distance {metrics['swd']:.1f} (real images: {metrics['swd_floor']:.1f})")
    if "class_agreement" in metrics:
        parts.append(
            f"{100 * metrics['class_agreement']:.0f} % of the samples are of the class asked for "
            f"(real images: {100 * metrics['class_agreement_real']:.0f} %)"
        )
    parts.append(COPIES[contents.copies])
    raised = _raised(contents)
    parts.append(f"flagged: {raised}" if raised else "no flag raised")
    kind = "A DCGAN" if contents.model["params"].get("conditional", "none") == "none" else "A class-conditional DCGAN"
    return f"{kind} of {contents.data.source['title']} at {shape}: {'; '.join(parts)}."


def cards(contents: Contents) -> tuple[Card, ...]:
    """The cards, in the order in which they are read."""
    return _quality(contents), _variety(contents), _copies(contents), _training(contents)


def _raised(contents: Contents) -> str:
    return ", ".join(dict.fromkeys(FLAGS[flag.kind] for flag in contents.flags))


def _quality(contents: Contents) -> Card:
    metrics = contents.metrics
    if not contents.network:
        floor = f"(real images: {metrics['swd_floor']:.1f}); {METRICS['swd'].better} is better"
        return Card("Quality", f"{metrics['swd']:.1f}", f"{METRICS['swd'].label}, ×10³ {floor}")
    words = f"{METRICS['fid'].label}{contents.floor}; {METRICS['fid'].better} is better"
    return Card("Quality", f"{metrics['fid']:.1f}", words)


def _variety(contents: Contents) -> Card:
    metrics = contents.metrics
    if not contents.has_judge:
        floor = f"(real images: {metrics['ms_ssim_real']:.2f}); higher is less diverse"
        return Card("Variety", f"{metrics['ms_ssim']:.2f}", f"{METRICS['ms_ssim'].label}, MS-SSIM {floor}")
    covered, total = metrics["modes_covered"], metrics["modes_total"]
    words = f"{contents.kind} covered; the rarest has {100 * metrics['rarest_mode']:.1f} % of the samples"
    return Card("Variety", f"{covered} of {total}", words, "ok" if covered == total else "bad")


def _copies(contents: Contents) -> Card:
    metrics, label = contents.metrics, METRICS["memorization"].label
    if contents.copies is None:
        return Card("Copies", "?", f"{label}: {contents.undecided}")
    low, high, real = (100 * metrics[f"memorization_{name}"] for name in ("low", "high", "real"))
    words = (
        f"{label} (95 % interval {low:.1f} % to {high:.1f} %; {contents.protocol['memorization_real']}: {real:.1f} %)"
    )
    return Card("Copies", f"{100 * metrics['memorization']:.1f} %", words, "bad" if contents.copies else "ok")


def _training(contents: Contents) -> Card:
    model = contents.model
    seen, best = model["images_seen"], model["best_images_seen"]
    checkpoint = "the last checkpoint" if seen == best else f"the checkpoint after {best:,}"
    kept = f"{seen:,} images seen; {checkpoint} is kept"
    if contents.flags:
        return Card("Training", "Flagged", f"{_raised(contents)}; {kept}", "bad")
    if model["stopped"]:
        return Card("Training", "Ended early", kept)
    return Card("Training", "No flag", kept, "ok")
