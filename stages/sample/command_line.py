"""Draw the samples of any seeds: all in one picture, or each in its own file. Or draw those of the z in a file.

    python -m stages.sample --seeds 1,2,3 --out x.png
    python -m stages.sample --seeds 0-31 --grid 4x8 --out x.png
    python -m stages.sample --seeds 7,100-199 --out pictures/
    python -m stages.sample --z shoe-inverted.npy --out x.png

The last line draws the z that `python -m stages.invert` has found.

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


def parse_grid(text: str | None, count: int) -> tuple[int, int]:
    """4x8 => rows and columns (4, 8); None => about a square. Raises StageError if `count` pictures do not fit."""
    if text is None:
        columns = math.isqrt(count - 1) + 1
        return -(-count // columns), columns
    match = re.fullmatch(r"(\d{1,4})[x×](\d{1,4})", text.strip())
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if rows < 1 or columns < 1 or rows * columns > _MAX_SEEDS:
        raise StageError(f"--grid: expected rows and columns such as 4x8, at most {_MAX_SEEDS:,} places, got {text!r}")
    if rows * columns < count:
        raise StageError(f"--grid: {text} has room for {rows * columns} pictures, but there are {count} seeds")
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


def _draw_z(arguments: argparse.Namespace) -> None:
    z = read_z(arguments.z)
    rows, columns = parse_grid(arguments.grid, len(z))
    if _check(arguments):
        raise StageError(f"--out: {arguments.out}: with --z, expected a name that ends with .png")
    shell.load_tensorflow("sample")
    from stages.latent import Sampler

    sampler = Sampler.load(arguments.model)
    if z.shape[1] != sampler.dimensions:
        expected = f"{arguments.model} takes z of {sampler.dimensions} numbers"
        raise StageError(f"--z: {arguments.z}: it has z of {z.shape[1]} numbers, but {expected}; use its own generator")
    generator_sha256 = artifacts.sha256(arguments.model)
    provenance = Provenance(
        description=f"Samples of the z in {shell.printable(arguments.z.name)}, in this order",
        source=f"{arguments.model.name}, SHA-256 {generator_sha256}",
        params={"scale": arguments.scale},
        stage="sample",
        generator_sha256=generator_sha256,
    )
    picture = png.grid(sampler(z), columns, rows=rows)
    _write(Path(arguments.out), lambda path: png.save_png(picture, path, arguments.scale, provenance))
    shell.say(f"{arguments.out}: {len(z):,} samples")


def _draw(arguments: argparse.Namespace) -> None:
    seeds = parse_seeds(arguments.seeds)
    rows, columns = parse_grid(arguments.grid, len(seeds))
    separate = _check(arguments)
    shell.load_tensorflow("sample")
    from stages.latent import Sampler

    sampler = Sampler.load(arguments.model)
    generator_sha256 = artifacts.sha256(arguments.model)
    provenance = Provenance(
        source=f"{arguments.model.name}, SHA-256 {generator_sha256}",
        params={"seeds": arguments.seeds, "scale": arguments.scale},
        stage="sample",
        generator_sha256=generator_sha256,
    )
    if separate:
        _save_files(Path(arguments.out), sampler, seeds, arguments.scale, provenance)
    else:
        provenance = replace(provenance, seeds=re.sub(r"\s", "", arguments.seeds), grid=f"{rows}x{columns}")
        _save_grid(Path(arguments.out), sampler, seeds, arguments.scale, provenance)


def _save_grid(out: Path, sampler: "Sampler", seeds: list[int], scale: int, provenance: Provenance) -> None:
    from stages.latent import latent

    rows, columns = map(int, provenance.grid.split("x"))
    samples = f"Samples of the seeds {provenance.seeds}, in this order"
    provenance = replace(provenance, description=samples if len(seeds) > 1 else f"Sample of the seed {seeds[0]}")
    picture = png.grid(sampler(latent(seeds, sampler.dimensions)), columns, rows=rows)
    _write(out, lambda path: png.save_png(picture, path, scale, provenance))
    shell.say(f"{out}: {len(seeds):,} samples")


def _save_files(folder: Path, sampler: "Sampler", seeds: list[int], scale: int, provenance: Provenance) -> None:
    images = (image for batch in sampler.batches(seeds) for image in pixels.to_uint8(batch))
    for seed, image in zip(seeds, images, strict=True):
        of_seed = replace(provenance, description=f"Sample of the seed {seed}", seeds=str(seed), grid="1x1")
        _write(folder / f"seed-{seed:06d}.png", partial(png.save_png, image, scale=scale, provenance=of_seed))
    shell.say(f"{folder}: {len(seeds):,} pictures, seed-{seeds[0]:06d}.png and so on")


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
