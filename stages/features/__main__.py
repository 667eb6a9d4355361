"""Train the judge, a small network, and measure the real data in its features.

    python -m stages.features

Reads data/prepared (after validation: reports/validation.json) and the `features` section of the params. Writes:

    models/features/         judge.keras (images => logits and 64 features) and features.json (how it was trained)
    data/reference.npz       mean and covariance of the training images' features; the test images' features
    reports/features.json    which judge is used; the accuracy of one with labels, with its confidence interval, and the
                             largest class's share; the distances of the instrument check
    models/inception/        inception.json; for `features.network: inception` also the graph of 2015 that published
                             Fréchet distances use (inception.pb) and the data in its features (reference.npz)

The judge of data with two classes or more is a classifier. It is not used if it is no better than always naming the
largest class, or if it does not see blur, noise, a checkerboard or mush in held-out images. Then, and for data without
labels, the judge learns from the pictures alone. If that one does not see them either, there is no judge: the files say
so, and judge.keras is missing. The judge and data/reference.npz have the same bytes with and without Inception.
Fashion-MNIST takes one to two minutes on two cores.
Prints:

    features: loading TensorFlow ...
    judge accuracy 91.6% on 10,000 test images (95% interval 91.1% to 92.2%; the largest class: 10.0%)
    features: done in 122.1 s
"""

from collections.abc import Mapping

from stages import shell
from stages.features.settings import Settings
from stages.workspace import Workspace


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for TensorFlow."""
    from stages.features import stage

    return stage.features(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("features", "features", Settings, features, __doc__, tensorflow=True)
