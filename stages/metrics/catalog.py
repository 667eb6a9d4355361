"""The table of metrics: each one's name, label, meaning and direction.

This is their order everywhere. The evaluate stage, `make compare`, `make trends`, the report and
docs/metrics.md read this table.
"""

from dataclasses import dataclass

from stages.sizes import SIDES


@dataclass(frozen=True)
class Metric:
    """A number that the evaluate stage writes.

    `better`: lower, higher, or the value (`near 1`) or the metric (`near ms_ssim_real`) that good samples come close
    to. Empty for floors, errors and totals, which only help to read another metric. `headline`: shown where only a few
    metrics fit, such as reports/metrics.json, which DVC's tables show.

    `module`: a file of stages/metrics that compares two sets of features. The evaluate stage calls its
    `compute(generated (N, d), real (N, d)) -> dict[str, float]`, N at least 6, which returns the metrics whose rows
    name the module. Empty for metrics that the evaluate stage computes from something else.
    """

    name: str
    label: str
    meaning: str
    better: str = ""
    headline: bool = False
    module: str = ""


_ROWS = (
    Metric(
        "judge_rejected",
        "judge rejected",
        "1 if a judge failed its check, so that another judge is used, or none. The report says which and why. Missing "
        "otherwise",
    ),
    Metric(
        "fid",
        "Fréchet distance",
        "Distance between samples and training images, modelled as Gaussians in a network's features (Heusel 2017). "
        "It measures quality and variety together",
        "lower",
        headline=True,
    ),
    Metric(
        "fid_floor",
        "Fréchet distance of real images",
        "`fid` of held-out real images. A perfect generator would come close to it",
    ),
    Metric(
        "fid_bias",
        "bias of the Fréchet distance",
        "Estimate of how much `fid` is too high because the number of samples is finite (Chong, Forsyth 2020)",
    ),
    Metric(
        "kid",
        "kernel distance",
        "Squared maximum mean discrepancy in a network's features (Bińkowski 2018). Unlike `fid` it has no bias",
        "lower",
        headline=True,
        module="kid",
    ),
    Metric("kid_se", "standard error of the kernel distance", "Standard error of `kid`", module="kid"),
    Metric(
        "precision",
        "precision",
        "Share of samples that lie among real images (Kynkäänniemi 2019): quality",
        "higher",
        headline=True,
        module="prdc",
    ),
    Metric(
        "recall",
        "recall",
        "Share of real images that lie among samples (Kynkäänniemi 2019): variety",
        "higher",
        headline=True,
        module="prdc",
    ),
    Metric(
        "density",
        "density",
        "How many real images' neighbourhoods a sample lies in, over the number expected of a real image (Naeem 2020): "
        "quality",
        "near 1",
        module="prdc",
    ),
    Metric(
        "coverage",
        "coverage",
        "Share of real images with a sample in their neighbourhood (Naeem 2020): variety",
        "higher",
        headline=True,
        module="prdc",
    ),
    Metric(
        "modes_covered",
        "classes covered",
        "Classes whose share among the samples is at least `evaluate.mode_threshold` (a tenth) of their share in the "
        "data. With a judge without labels, clusters of the training images take the place of classes",
        "higher",
        headline=True,
    ),
    Metric("modes_total", "classes", "Classes in the data, or clusters"),
    Metric(
        "mode_kl",
        "divergence of the class shares",
        "KL divergence of the samples' class shares from the data's, in nats",
        "lower",
    ),
    Metric("rarest_mode", "share of the rarest class", "Smallest share of a class among the samples", "higher"),
    Metric(
        "class_agreement",
        "class agreement",
        "Share of a conditional generator's samples that the judge assigns to the class asked for",
        "near class_agreement_real",
        headline=True,
    ),
    Metric(
        "class_agreement_real",
        "class agreement of real images",
        "`class_agreement` of held-out real images with their labels: the judge's accuracy",
    ),
    Metric(
        "class_fid",
        "Fréchet distance within the classes",
        "Mean over the classes of the Fréchet distance between samples of a class and held-out images of it, equally "
        "many of each. Only for a conditional generator",
        "lower",
    ),
    Metric(
        "class_precision",
        "precision within the classes",
        "`precision` of samples of a class among held-out images of it, mean over the classes",
        "higher",
    ),
    Metric("class_recall", "recall within the classes", "`recall` in the same way", "higher"),
    Metric(
        "class_accuracy",
        "classification accuracy score",
        "Accuracy, on held-out real images, of a judge trained on samples and the classes asked for (Ravuri, Vinyals "
        "2019); only with `evaluate.class_accuracy`",
        "near class_agreement_real",
    ),
    Metric(
        "swd",
        "sliced Wasserstein distance",
        "Distance ×10³ between patches of the images' Laplacian pyramids, mean over the levels (Karras 2018). It needs "
        "no network and no labels",
        "lower",
        headline=True,
    ),
    *(
        Metric(
            f"swd_{side}",
            f"sliced Wasserstein distance at {side} pixels",
            "`swd` at one level of the pyramid: patches of images whose shorter side has this many pixels",
            "lower",
        )
        for side in reversed(SIDES)
    ),
    Metric(
        "swd_floor",
        "sliced Wasserstein distance of real images",
        "`swd` of training images. A perfect generator would come close to it",
    ),
    Metric(
        "checkerboard",
        "checkerboard",
        "Power in the spectrum at a period of two pixels, over that at the next longer periods: high if up-sampling "
        "leaves a pattern (Odena 2016)",
        "near checkerboard_real",
    ),
    Metric("checkerboard_real", "checkerboard of real images", "`checkerboard` of held-out real images"),
    Metric(
        "ms_ssim",
        "similarity of samples",
        "Mean similarity of pairs of samples (MS-SSIM, Odena 2017): 1 for identical images",
        "near ms_ssim_real",
    ),
    Metric("ms_ssim_real", "similarity of real images", "`ms_ssim` of held-out real images"),
    Metric(
        "memorization",
        "samples that look like copies",
        "Share of samples that lie as close to a training image, or to a blend of two, as a copy would (after Carlini "
        "2023), also mirrored, shifted, zoomed or darker. Above 0.05, above twice `memorization_real` and not by "
        "chance, the generator copies training images",
        "near memorization_real",
        headline=True,
    ),
    Metric(
        "memorization_low",
        "samples that look like copies, at least",
        "Lower end of the 95 % confidence interval of `memorization` (Wilson 1927)",
    ),
    Metric(
        "memorization_high",
        "samples that look like copies, at most",
        "Upper end of the 95 % confidence interval of `memorization`",
    ),
    Metric(
        "memorization_real",
        "real images that look like copies",
        "`memorization` of held-out real images or, if there are fewer than 200, of training images among the others. "
        "Above 0.25 the data repeats itself too much to detect copies",
    ),
    Metric(
        "nearest_distance",
        "distance to training images",
        "Median distance of samples to their nearest training image, over that of the images of `memorization_real`",
        "near 1",
    ),
    Metric(
        "inversion_images",
        "images inverted",
        "Images of each split whose nearest samples were searched (`evaluate.inversion`); 0, the default, skips the "
        "metrics of inversion",
    ),
    Metric(
        "inversion",
        "distance of held-out images to samples",
        "Median root mean square difference, in levels of [0,255], of held-out images to the nearest sample that "
        "gradient descent in z finds (Webster 2019)",
        "lower",
    ),
    Metric(
        "inversion_train",
        "distance of training images to samples",
        "`inversion` of training images. If it is much lower, the generator has memorised them",
    ),
    Metric(
        "inversion_real",
        "distance of held-out images to training images",
        "Median difference of the same held-out images to their nearest training image",
    ),
    Metric(
        "inversion_features",
        "distance of held-out images to samples in the judge's features",
        "`inversion` as a Euclidean distance in the judge's features",
        "lower",
    ),
    Metric(
        "inversion_features_train",
        "distance of training images to samples in the judge's features",
        "`inversion_train` in the judge's features",
    ),
    Metric(
        "inversion_features_real",
        "distance of held-out images to training images in the judge's features",
        "`inversion_real` in the judge's features, each held-out image with its nearest training image there",
    ),
)
METRICS = {metric.name: metric for metric in _ROWS}
"""By name, in the order of every table."""
CLASS_PROTOCOL = ("class_shares", "class_compared_samples", "class_accuracy_images")
"""Keys of the protocol that decide only the metrics `class_…`. An unconditional generator has neither.

Its other metrics can be compared with those of a conditional generator whose samples have the data's class shares.
"""
FEATURE_MODULES = tuple(dict.fromkeys(metric.module for metric in _ROWS if metric.module))
"""The files of stages/metrics that compare two sets of features."""
