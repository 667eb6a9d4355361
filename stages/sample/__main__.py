"""Make the pictures: uncurated samples, real images beside them, the training's timeline, ways between samples.

    python -m stages.sample

Reads models/generator.keras, models/timeline.npz, data/prepared, the judge and the `sample` section. Writes
reports/samples/: grid.png (one sample per seed, none picked), real.png (test images, likewise), timeline.png (a row per
score of the training, for the same z) and timeline_animated.png, interpolation.png, nearest.png (the training images
nearest to the first samples) and, where `sample.arithmetic` names classes, arithmetic.png. Each PNG carries in its own
text how it came about. Half a minute.

    python -m stages.sample --seeds 1,2,3 --out x.png [--grid 4x8]
    python -m stages.sample --seeds 0-99 --out pictures/

draws the samples of these seeds, as one picture of 4 rows of 8, or into a folder, a file for each. --help with --seeds
says more.
"""

import sys
from collections.abc import Mapping, Sequence

from stages import shell
from stages.sample import command_line
from stages.sample.settings import Settings
from stages.workspace import Workspace


def sample(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.sample import stage

    return stage.sample(settings, workspace)


def main(arguments: Sequence[str]) -> None:
    """Run the stage, or draw any samples where an option of stages/sample/command_line.py is given."""
    if any(argument.startswith(("--seeds", "--model", "--grid", "--scale")) for argument in arguments):
        command_line.main(arguments)
    else:
        shell.run_stage("sample", "sample", Settings, sample, __doc__, tensorflow=True)


if __name__ == "__main__":
    main(sys.argv[1:])
