"""Draw samples, real images for comparison, the timeline of training and interpolations between samples.

    python -m stages.sample

Reads models/generator.keras, models/timeline.npz, data/prepared, the judge and the `sample` section of the params.
Writes reports/samples/: grid.png (one sample per seed, none picked), real.png (test images, none picked), timeline.png
(one row per score during training, always for the same z), timeline_animated.png, interpolation.png, nearest.png (the
first samples with the training images nearest to them) and, if `sample.arithmetic` names classes, arithmetic.png. For
a conditional generator, grid.png has a row for each class, and class_blends.png leads from each class to the next. Each
PNG holds its own provenance as text. Takes less than half a minute. Prints:

    sample: loading TensorFlow ...
    sample: done in 13.0 s

To draw the samples of any seeds, as one picture or as a folder with one file per seed:

    python -m stages.sample --seeds 1,2,3 --out x.png [--grid 4x8]
    python -m stages.sample --seeds 0-99 --out pictures/
    python -m stages.sample --class Sneaker --seeds 0-7 --out sneakers.png

`python -m stages.sample --seeds 0 --help` lists the options.
"""

import sys
from collections.abc import Mapping, Sequence

from stages import shell
from stages.sample import command_line
from stages.sample.settings import Settings
from stages.workspace import Workspace

_OPTIONS = ("--seeds", "--z", "--model", "--grid", "--scale", "--class", "--every-class")


def sample(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for it."""
    from stages.sample import stage

    return stage.sample(settings, workspace)


def main(arguments: Sequence[str]) -> None:
    """Run the stage, or draw samples of the given seeds if an option of stages/sample/command_line.py is used."""
    if any(argument.startswith(_OPTIONS) for argument in arguments):
        command_line.main(arguments)
    else:
        shell.run_stage("sample", "sample", Settings, sample, __doc__, tensorflow=True)


if __name__ == "__main__":
    main(sys.argv[1:])
