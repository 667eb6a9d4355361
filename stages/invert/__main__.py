"""Find the z whose sample is nearest to a picture.

    python -m stages.invert PICTURE [--out x.png]

Prepares the picture as the prepare stage prepares its images (crop, size, colours), and searches by gradient descent in
z, on the pixels and on the judge's features. Reads models/generator.keras, the settings in data/prepared/manifest.json
and the judge in models/features. Writes two files: a PNG with the prepared picture, the sample and their difference
(gray: none), and the z as an array of NumPy. The same seed gives the same z. Takes about twenty seconds on two cores.
Prints:

    invert: loading TensorFlow ...
    shoe.jpg: the nearest sample differs by 12.3 of 255 levels in each pixel (two random samples: by 99.7)
    shoe-inverted.png: the picture, its nearest sample, and their difference
    shoe-inverted.npy: the z of the sample. To draw it: python -m stages.sample --z shoe-inverted.npy --out again.png
    invert: done in 12.1 s
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages import shell
from stages.invert.settings import Settings
from stages.workspace import Workspace


def _invert(arguments: argparse.Namespace, workspace: Workspace) -> None:
    """Run the command. The import is here so that --help does not wait for it."""
    settings = Settings(**vars(arguments))
    from stages.invert import command

    command.invert(settings, workspace)


def main(arguments: Sequence[str]) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.invert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path, help="a picture in any format that the prepare stage reads")
    parser.add_argument("--out", type=Path, help="the PNG to write (default: the picture's name with -inverted.png)")
    parser.add_argument(
        "--model", type=Path, default=Settings.model, help="the generator (default: models/generator.keras)"
    )
    parser.add_argument(
        "--seed", type=int, default=Settings.seed, help="another seed starts from other samples (default: 0)"
    )
    parser.add_argument(
        "--steps", type=int, default=Settings.steps, help="steps of the descent; the time grows with them"
    )
    parsed = parser.parse_args(arguments)
    workspace = Workspace(parsed.out.parent if parsed.out else Path())
    shell.run_interruptible("invert", lambda: _invert(parsed, workspace), tensorflow=True, clear=workspace.clear)


if __name__ == "__main__":
    main(sys.argv[1:])
