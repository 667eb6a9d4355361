"""Draw the samples of any seeds: all in one picture, or each in its own file. Or draw those of the z in a file.

    python -m stages.sample --seeds 1,2,3 --out x.png
    python -m stages.sample --seeds 0-31 --grid 4x8 --out x.png
    python -m stages.sample --seeds 7,100-199 --out pictures/
    python -m stages.sample --class Sneaker --seeds 0-7 --out sneakers.png
    python -m stages.sample --every-class --seeds 0-7 --out x.png
    python -m stages.sample --class "Male, not Smiling" --class "Male, Smiling=0.5" --seeds 0-7 --out x.png
    python -m stages.sample --z shoe-inverted.npy --out x.png

A conditional generator makes the classes that you name. With several, each has a row, and the same z in each column.
Without a class, the seed decides it, by the shares of the classes in the training data.

For a model of attributes (train.conditional: attributes), a class is a list of attributes: `Male` has one, `not
Smiling` lacks one, and `Smiling=0.5` is a blend. The combination need not be in the data. The seed decides the
attributes that are not listed, so two rows differ only in those that are.

`--z` draws the z that `python -m stages.invert` has found. With a conditional generator it needs a class (with all
attributes).

A seed always gives the same z. With the same generator it gives the same picture, alone or in any grid.
"""

import argparse
import math
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages import artifacts, pixels, png, shell
from stages.errors import StageError
from stages.png import Provenance

if TYPE_CHECKING:  # it imports TensorFlow, and errors in the options should come at once
    from stages.classes import Choice
    from stages.latent import Sampler

_MAX_SEEDS = 10_000


def parse_seeds(text: str) -> list[int]:
    """1,2,10-12 => [1, 2, 10, 11, 12]. Raises StageError for anything else and for more than 10,000 seeds."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            expected = "numbers of at most 18 digits and ranges, such as 1,2,10-19"
            raise StageError(f"--seeds: expected {expected}, got {part.strip()!r}")
        if len(seeds) + last - first >= _MAX_SEEDS:
            raise StageError(f"--seeds: expected at most {_MAX_SEEDS:,} seeds, got {text.strip()}")
        seeds += range(first, last + 1)
    return seeds


def parse_grid(text: str | None, count: int, classes: int = 0) -> tuple[int, int]:
    """4x8 => rows and columns (4, 8). Raises StageError if `count` pictures do not fit.

    None => about a square, or a row for each of several classes.
    """
    if text is None and classes > 1:
        return classes, count // classes
    if text is None:
        columns = math.isqrt(count - 1) + 1
        return -(-count // columns), columns
    match = re.fullmatch(r"(\d{1,4})[x×](\d{1,4})", text.strip())
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if rows < 1 or columns < 1 or rows * columns > _MAX_SEEDS:
        raise StageError(f"--grid: expected rows and columns such as 4x8, at most {_MAX_SEEDS:,} places, got {text!r}")
    if rows * columns < count:
        things = "pictures" if classes else "seeds"
        raise StageError(f"--grid: {text} has room for {rows * columns} pictures, but there are {count} {things}")
    return rows, columns


def _check(arguments: argparse.Namespace) -> bool:
    """Whether each sample gets its own file. Raises StageError for options that do not fit together."""
    out = Path(arguments.out)
    separate = arguments.out.endswith(os.sep) or out.is_dir() or not out.suffix
    if not separate and out.suffix.lower() != ".png":
        raise StageError(f"--out: {out}: expected a name that ends with .png, or a folder")
    if separate and arguments.grid:
        raise StageError(f"--out: {out}: a grid is one picture; expected a name that ends with .png")
    if not 1 <= arguments.scale <= 64:
        raise StageError(f"--scale: expected 1 to 64, got {arguments.scale}")
    if not arguments.model.exists():
        raise artifacts.missing(arguments.model)
    return separate


def _choices(arguments: argparse.Namespace, sampler: "Sampler") -> list[tuple[str, "Choice"]]:
    """What to draw, with its name: classes, or lists of attributes. One None without a choice.

    Raises StageError for a class or an attribute that the model does not have, and for z of a conditional model if the
    options leave a choice to the seed.
    """
    if not (arguments.classes or arguments.every_class):
        if sampler.classes and arguments.z:
            raise StageError(
                f"--z: {arguments.model} is conditional, and a file of z has no class; name it with --class"
            )
        if sampler.classes:
            shell.say("sample: no --class: the seed decides the class, by the shares in the training data")
        return [("", None)]
    option = "--class" if arguments.classes else "--every-class"
    if sampler.classes is None:
        raise StageError(
            f"{option}: {arguments.model} is not conditional, so it has no classes; train one with train.conditional: "
            "classes, or leave this option out"
        )
    if arguments.every_class:
        return [(name, index) for index, name in enumerate(sampler.classes.names)]
    choices: list[tuple[str, Choice]] = [sampler.classes.choice(text, "--class") for text in arguments.classes]
    if any(isinstance(choice, np.ndarray) and np.isnan(choice).any() for _, choice in choices):
        if arguments.z:
            names = ", ".join(sampler.classes.attributes)
            raise StageError(f"--class: a file of z has no seed to decide the attributes; list each of {names}")
        shell.say("sample: the seed decides the attributes that --class does not list")
    return choices


def read_z(path: Path) -> np.ndarray:
    """The z in a file of NumPy, float32 (N, dimensions). Raises StageError, naming the file, for anything else."""
    try:
        z = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise StageError(f"--z: {path}: no such file; `python -m stages.invert PICTURE` writes one") from None
    except (OSError, EOFError, ValueError):
        z = None
    if not isinstance(z, np.ndarray) or z.ndim != 2 or z.dtype.kind != "f" or not 1 <= len(z) <= _MAX_SEEDS:
        raise StageError(f"--z: {path}: expected an array of z (N, dimensions), such as stages.invert writes")
    return z.astype(np.float32)


def _chosen(arguments: argparse.Namespace, count: int) -> tuple["Sampler", list["Choice"], tuple[int, int], Provenance]:
    """The generator, what to draw, the rows and columns of the grid, and the provenance of every picture.

    `count`: the samples of each class.
    """
    if not (arguments.classes or arguments.every_class):
        parse_grid(arguments.grid, count)  # before TensorFlow is loaded
    shell.load_tensorflow("sample")
    from stages.latent import Sampler

    sampler = Sampler.load(arguments.model)
    chosen = _choices(arguments, sampler)
    names = tuple(name for name, _ in chosen if name)
    total = count * len(chosen)
    if total > _MAX_SEEDS:
        option = "--z" if arguments.z else "--seeds"
        raise StageError(f"{option}: expected at most {_MAX_SEEDS:,} pictures, got {total:,}")
    generator_sha256 = artifacts.sha256(arguments.model)
    provenance = Provenance(
        source=f"{arguments.model.name}, SHA-256 {generator_sha256}",
        params={"scale": arguments.scale},
        stage="sample",
        generator_sha256=generator_sha256,
        classes=names,
    )
    return sampler, [choice for _, choice in chosen], parse_grid(arguments.grid, total, len(names)), provenance


def _draw_z(arguments: argparse.Namespace) -> None:
    z = read_z(arguments.z)
    if _check(arguments):
        raise StageError(f"--out: {arguments.out}: with --z, expected a name that ends with .png")
    sampler, choices, (rows, columns), provenance = _chosen(arguments, len(z))
    if z.shape[1] != sampler.dimensions:
        expected = f"{arguments.model} takes z of {sampler.dimensions} numbers"
        raise StageError(f"--z: {arguments.z}: it has z of {z.shape[1]} numbers, but {expected}; use its own generator")
    of_classes = _of_classes(provenance.classes)
    description = f"Samples of the z in {shell.printable(arguments.z.name)}, in this order{of_classes}"
    images = np.concatenate([sampler(z, sampler.weights(range(len(z)), choice)) for choice in choices])
    _save_grid(arguments, images, rows, columns, replace(provenance, description=description))


def _draw(arguments: argparse.Namespace) -> None:
    seeds = parse_seeds(arguments.seeds)
    separate = _check(arguments)
    sampler, choices, (rows, columns), provenance = _chosen(arguments, len(seeds))
    provenance = replace(provenance, params={"seeds": arguments.seeds, **provenance.params})
    if separate:
        _save_files(Path(arguments.out), sampler, seeds, choices, arguments.scale, provenance)
        return
    shown = re.sub(r"\s", "", arguments.seeds)
    start = f"Samples of the seeds {shown}, in this order" if len(seeds) > 1 else f"Sample of the seed {seeds[0]}"
    description = start + _of_classes(provenance.classes)
    images = np.concatenate([sampler.images(seeds, choice) for choice in choices])
    of_grid = replace(provenance, description=description, seeds=shown, grid=f"{rows}x{columns}")
    _save_grid(arguments, images, rows, columns, of_grid)


def _of_classes(names: Sequence[str]) -> str:
    """The end of a description: the classes, if there are any."""
    if not names:
        return ""
    return f", of the class {names[0]}" if len(names) == 1 else f", of each of the classes {', '.join(names)}"


def _save_grid(
    arguments: argparse.Namespace, images: np.ndarray, rows: int, columns: int, provenance: Provenance
) -> None:
    picture = png.grid(images, columns, rows=rows)
    _write(Path(arguments.out), lambda path: png.save_png(picture, path, arguments.scale, provenance))
    shell.say(f"{arguments.out}: {len(images):,} samples")


def _save_files(
    folder: Path,
    sampler: "Sampler",
    seeds: list[int],
    choices: Sequence["Choice"],
    scale: int,
    provenance: Provenance,
) -> None:
    files: list[str] = []
    for i, choice in enumerate(choices):
        names, start = provenance.classes[i : i + 1], _start_of_names(choice)
        images = (image for batch in sampler.batches(seeds, choice) for image in pixels.to_uint8(batch))
        for seed, image in zip(seeds, images, strict=True):
            description = f"Sample of the seed {seed}{_of_classes(names)}"
            of_seed = replace(provenance, description=description, seeds=str(seed), grid="1x1", classes=names)
            files.append(f"{start}seed-{seed:06d}.png")
            _write(folder / files[-1], partial(png.save_png, image, scale=scale, provenance=of_seed))
    shell.say(f"{folder}: {len(files):,} pictures, {files[0]} and so on")


def _start_of_names(choice: "Choice") -> str:
    """The start of the names of a choice's files. A class's name need not be the name of a file."""
    if choice is None:
        return ""
    if isinstance(choice, int):
        return f"class-{choice:03d}-"
    return "".join(["attributes-", *("x-" if np.isnan(value) else f"{value:.6g}-" for value in choice)])


def _write(path: Path, save: Callable[[Path], None]) -> None:
    """Write a file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".sample-") as folder:
        save(Path(folder) / path.name)
        (Path(folder) / path.name).replace(path)


def main(arguments: Sequence[str]) -> None:
    """Draw the samples that the arguments name. Exits as every stage does."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.sample", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", help="seeds and ranges of seeds: 1,2,10-19")
    which.add_argument("--z", type=Path, help="a file of z that `python -m stages.invert` has written")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--class",
        dest="classes",
        metavar="NAME",
        action="append",
        help="a class of a conditional generator, or attributes such as 'Male, not Smiling'; repeat it for several, a "
        "row each (default: the seed decides)",
    )
    chosen.add_argument("--every-class", action="store_true", help="all classes, a row each")
    parser.add_argument(
        "--grid", help="rows and columns, such as 4x8; empty places stay white (default: about a square)"
    )
    parser.add_argument("--out", required=True, help="a .png for all samples, or a folder for one file per sample")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/generator.keras"),
        help="the generator (default: models/generator.keras)",
    )
    parser.add_argument("--scale", type=int, default=2, help="draw each pixel as a block with this side (default: 2)")
    parsed = parser.parse_args(arguments)
    draw = _draw_z if parsed.z else _draw
    shell.run_interruptible("sample", lambda: draw(parsed), tensorflow=True)
