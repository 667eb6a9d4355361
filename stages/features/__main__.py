"""Train the judge on the labels, and note what real data looks like to it; and to Inception where that is asked for.

    python -m stages.features

Reads data/prepared (once it is validated: reports/validation.json) and the `features` section. Writes models/features/
(judge.keras: images => logits and 64 features; features.json: how the judge came about), data/reference.npz (mean and
covariance of the training images' features, the test images' features) and reports/features.json (the judge's
accuracy). Data with fewer than two classes has no judge: then the files say so, and models/features/ has no
judge.keras. Fashion-MNIST: about a minute on two cores, 91 % or more on the test split.

models/inception/inception.json says whether `features.network` asks for the graph of 2015 that published Fréchet
distances are measured in; if so, inception.pb beside it is that graph as published, and reference.npz what real data
looks like to it. The judge and its reference are the same bytes either way.
"""

from collections.abc import Mapping

from stages import shell
from stages.features.settings import Settings
from stages.workspace import Workspace


def features(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.features import stage

    return stage.features(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("features", "features", Settings, features, __doc__, tensorflow=True)
