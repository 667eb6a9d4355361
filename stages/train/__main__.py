"""Train the DCGAN.

    python -m stages.train

Reads data/prepared, models/features, the reference, and the `train` section. Writes the best checkpoint by score (the
Fréchet distance in the judge's features; without labels the sliced Wasserstein distance): models/generator.keras (the
moving average, what samples come from) and models/discriminator.keras; models/model.json (how they came about, and what
went wrong on the way); models/timeline.npz (the same 32 z at every score); and reports/train/ (DVCLive's curves and the
fixed-z pictures). An interrupted training goes on from its last checkpoint, to the same bytes. All GPUs of the machine
train together, and several machines where TF_CONFIG or Slurm names them. The default takes about four minutes on
two cores.
"""

from collections.abc import Mapping

from stages import shell
from stages.train.settings import Settings
from stages.workspace import Workspace


def train(settings: Settings, workspace: Workspace) -> Mapping[str, float] | None:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.train import stage

    return stage.train(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("train", "train", Settings, train, __doc__, tensorflow=True)
