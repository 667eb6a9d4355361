"""Does the judge without labels agree with the judge of the labels?

    python -m benchmarks.judges [GENERATOR.keras ...]

Hides the labels of data/prepared, trains the judge without labels, and measures generators in the features of both
judges: the generator in models/, those that the studies left in .state/studies, and the files on the command line. Each
is measured three times: as it is, and with noise added to its weights at two strengths, which makes worse generators at
no cost. Prints and writes the rank correlations, the distances of pictures that get worse by known strengths, and the
seconds of the training: benchmarks/results/judges.json. Draws docs/judges.png. Takes ten minutes for 27 generators.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from benchmarks.data import RESULTS
from stages import artifacts, manifest, params, records, reference
from stages.features import instrument, unlabelled
from stages.features.settings import Settings
from stages.features.stage import measure_data
from stages.latent import Sampler
from stages.machine import processor
from stages.metrics import kid
from stages.metrics.frechet import frechet_distance, gaussian
from stages.networks import judge as judges
from stages.networks import saving
from stages.networks.judge import Judge
from stages.reference import Reference

PICTURE = Path("docs/judges.png")
SAMPLES = 2000
_FIRST_SEED = 1_000_000
_NOISE = (0.2, 0.5)  # of the standard deviation of each kernel
_DROPPED = (1, 2, 4, 6)  # classes
_COPIED = (500, 200, 50, 20)  # different pictures among all
_BLENDED = (0.1, 0.2, 0.3, 0.5)  # the weight of a second picture

Networks = dict[str, tuple[Judge, Reference]]
"""The judges by kind, each with the data in its features."""


def generators(files: list[Path]) -> Iterator[tuple[str, keras.Model]]:
    """Each generator by name, as it is and with noise added to its kernels."""
    for number, path in enumerate(files):
        model = saving.load(path)
        name = path.parent.parent.name if path.name == "generator.keras" else path.stem
        weights = [np.array(weight) for weight in model.get_weights()]
        yield name, model
        for noise in _NOISE:
            random = np.random.default_rng([number, int(100 * noise)])
            model.set_weights(
                [
                    w + noise * w.std() * random.standard_normal(w.shape, np.float32) if w.ndim > 1 else w
                    for w in weights
                ]
            )
            yield f"{name} + noise {noise}", model


def distances(features: np.ndarray, real: Reference) -> dict[str, float]:
    """The Fréchet distance to the training images and the KID to as many held-out images."""
    held_out = real.held_out[: len(features)]
    return {"fid": frechet_distance(gaussian(features), real.train), "kid": kid.compute(features, held_out)["kid"]}


def measured(generator: keras.Model, networks: Networks) -> dict[str, dict[str, float]]:
    """The distances of a generator's samples in the features of each judge."""
    images = np.concatenate(list(Sampler(generator).batches(range(_FIRST_SEED, _FIRST_SEED + SAMPLES))))
    return {kind: distances(judge(images).features, real) for kind, (judge, real) in networks.items()}


def blended(images: np.ndarray, weight: float) -> np.ndarray:
    """Means of two pictures, of which the second has this weight."""
    others = np.random.default_rng(0).permutation(len(images))
    return ((1 - weight) * images + weight * images[others]).astype(np.float32)


def worse(images: np.ndarray, labels: np.ndarray, judge: Judge, real: Reference) -> dict[str, list[float]]:
    """The Fréchet distances of held-out pictures that get worse at four strengths, the mildest first."""

    def features_of(pictures: np.ndarray) -> np.ndarray:
        return judge(pictures).features

    def distance(features: np.ndarray) -> float:
        return artifacts.rounded(frechet_distance(gaussian(features), real.train), 4)

    features = features_of(images)
    corrupted = {
        name: [distance(features_of(corrupt(images, strength))) for strength in strengths]
        for name, (corrupt, strengths) in instrument.CORRUPTIONS.items()
    }
    return {
        "real": [distance(features)],
        **corrupted,
        "blends": [distance(features_of(blended(images, weight))) for weight in _BLENDED],
        "dropped classes": [distance(features[labels >= count]) for count in _DROPPED],
        "copies": [distance(np.resize(features[:count], features.shape)) for count in _COPIED],
    }


def draw(rows: dict[str, dict[str, dict[str, float]]], correlation: float) -> None:
    """Draw the scatter plot of the two judges' Fréchet distances."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for label, noisy, colour in (("trained", False, "#0072B2"), ("with noise in the weights", True, "#D55E00")):
        shown = [row for name, row in rows.items() if (" + noise" in name) is noisy]
        places = [[row[network]["fid"] for row in shown] for network in (judges.LABELLED, judges.UNLABELLED)]
        axes.plot(*places, "o", color=colour, markersize=4, label=f"{label} (n = {len(shown)})")
    axes.set(xscale="log", yscale="log", xlabel="FID, judge of the labels", ylabel="FID, judge without labels")
    axes.set_title(f"Fashion-MNIST, rank correlation {correlation:.3f}", fontsize=11)
    axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generators", nargs="*", type=Path, help="more generators, as .keras files")
    found = sorted(Path(".state/studies").glob("*/*/models/generator.keras"))
    files = [Path("models/generator.keras"), *found, *parser.parse_args().generators]
    folder = Path("data/prepared")
    data = manifest.read(folder)
    settings = params.load(Path("params.yaml"), "features", Settings)

    labelled = judges.load(Path("models/features"), data)
    real = reference.load(Path("data/reference.npz"))
    if labelled is None or real is None or not labelled.labelled:
        raise SystemExit("error: models/features: no judge of labels; run `dvc repro features` on data with labels")
    started = time.monotonic()
    model, shares = unlabelled.train_judge(folder, data, settings)
    seconds = time.monotonic() - started
    without = Judge(model)
    networks: Networks = {
        judges.LABELLED: (labelled, real),
        judges.UNLABELLED: (without, measure_data(folder, data, without)),
    }
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name, generator in generators(files):
        rows[name] = measured(generator, networks)
        print(name, *(f"{kind} {value['fid']:.2f}" for kind, value in rows[name].items()), flush=True)

    def correlation(one: tuple[str, str], other: tuple[str, str], *, noisy: bool) -> float:
        shown = [row for name, row in rows.items() if noisy or " + noise" not in name]
        values = [[row[network][metric] for row in shown] for network, metric in (one, other)]
        return round(float(spearmanr(*values)[0]), 4)

    ((images, labels),) = records.batches(folder, data, "test", SAMPLES).take(1)
    pairs = {
        "fid without labels, fid of the labels": ((judges.UNLABELLED, "fid"), (judges.LABELLED, "fid")),
        "fid without labels, kid of the labels": ((judges.UNLABELLED, "fid"), (judges.LABELLED, "kid")),
        "fid without labels, kid without labels": ((judges.UNLABELLED, "fid"), (judges.UNLABELLED, "kid")),
    }
    result = {
        "machine": {"processor": processor()},
        "data": data.source["title"],
        "training_seconds": round(seconds, 1),
        "generators": {"trained": len(files), "with noise": len(rows) - len(files)},
        "samples": SAMPLES,
        "clusters": [artifacts.rounded(share, 4) for share in shares],
        "rank_correlation": {name: correlation(*pair, noisy=True) for name, pair in pairs.items()},
        "rank_correlation_trained_only": {name: correlation(*pair, noisy=False) for name, pair in pairs.items()},
        "worse_pictures": {
            kind: worse(images.numpy(), labels.numpy(), judge, known) for kind, (judge, known) in networks.items()
        },
    }
    artifacts.write_json(RESULTS / "judges.json", result)
    draw(rows, correlation(*pairs["fid without labels, fid of the labels"], noisy=True))
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
