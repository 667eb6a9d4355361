"""Train the DCGAN.

    python -m stages.train

Reads data/prepared, models/features, data/reference.npz and the `train` section of the params. Writes:

    models/generator.keras       the moving average of the generator, which makes the samples
    models/discriminator.keras
    models/model.json            how the two networks were trained, and the problems that arose
    models/timeline.npz          images from the same 32 z at every score
    models/training_state.npz    the state from which a longer training continues (more train.images)
    reports/train/               DVCLive's curves, and the same images as pictures
    reports/train/live/          index.html, a page to watch while the training runs; not an output

The networks are those of the best checkpoint by score: the Fréchet distance in the judge's features or, without labels,
the sliced Wasserstein distance. After an interrupt, the same command resumes from the last checkpoint and ends with the
same bytes. All GPUs of the machine train together, and so do several machines that TF_CONFIG or Slurm names. The
default takes four to eight minutes on two cores. Prints a line for each score:

    train: loading TensorFlow ...
    generator 440,705 parameters, discriminator 426,977; watch file:///.../reports/train/live/index.html
    train: first picture: file:///.../reports/train/live/0000000640.png
    train: 29,984 images seen, score 74.25
    ...
    best: score 3.72 after 240,000 of 240,000 images
    train: done in 456.6 s
"""

from collections.abc import Mapping

from stages import shell
from stages.train.settings import Settings
from stages.workspace import Workspace


def train(settings: Settings, workspace: Workspace) -> Mapping[str, float] | None:
    """Run the stage. The import is here so that --help and errors in the params do not wait for TensorFlow."""
    from stages.train import stage

    return stage.train(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("train", "train", Settings, train, __doc__, tensorflow=True)
