"""Any samples from the command line: one picture of them, or a file for each.

    python -m stages.sample --seeds 1,2,3 --out x.png
    python -m stages.sample --seeds 0-31 --grid 4x8 --out x.png
    python -m stages.sample --seeds 7,100-199 --out pictures/

A seed gives the same z for ever, and with one generator the same picture, in any grid and alone.
"""

import argparse
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from stages import artifacts, pixels, png, shell
from stages.errors import StageError

_MOST = 10_000


def seeds_of(text: str) -> list[int]:
    """From 1,2,10-12 the seeds [1, 2, 10, 11, 12]. Raises StageError for anything else, and for more than 10,000."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            expected = "numbers of at most 18 digits and ranges, such as 1,2,10-19"
            raise StageError(f"--seeds: expected {expected}, got {part.strip()!r}")
        if len(seeds) + last - first >= _MOST:
            raise StageError(f"--seeds: expected at most {_MOST:,} seeds, got {text.strip()}")
        seeds += range(first, last + 1)
    return seeds


def layout_of(text: str | None, count: int) -> tuple[int, int]:
    """From 4x8 the rows and columns (4, 8), from None about a square. Raises StageError where `count` do not fit."""
    if text is None:
        columns = math.isqrt(count - 1) + 1
        return -(-count // columns), columns
    match = re.fullmatch(r"(\d{1,4})[x×](\d{1,4})", text.strip())
    rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
    if rows < 1 or columns < 1 or rows * columns > _MOST:
        raise StageError(f"--grid: expected rows and columns such as 4x8, of at most {_MOST:,}, got {text!r}")
    if rows * columns < count:
        raise StageError(f"--grid: {text} has room for {rows * columns} pictures, but there are {count} seeds")
    return rows, columns


def _draw(arguments: argparse.Namespace) -> None:
    seeds = seeds_of(arguments.seeds)
    rows, columns = layout_of(arguments.grid, len(seeds))
    out = Path(arguments.out)
    single = arguments.out.endswith(os.sep) or out.is_dir() or not out.suffix
    if not single and out.suffix.lower() != ".png":
        raise StageError(f"--out: {out}: expected a name that ends with .png, or a folder")
    if single and arguments.grid:
        raise StageError(f"--out: {out}: a grid goes into one picture; expected a name that ends with .png")
    if not 1 <= arguments.scale <= 64:
        raise StageError(f"--scale: expected 1 to 64, got {arguments.scale}")
    if not arguments.model.exists():
        raise artifacts.missing(arguments.model)
    shell.load_tensorflow("sample")
    from stages.latent import Sampler, latent

    sampler = Sampler.load(arguments.model)
    facts = {
        "Source": f"{arguments.model.name}, SHA-256 {artifacts.sha256(arguments.model)}",
        "Params": json.dumps({"seeds": arguments.seeds, "scale": arguments.scale}),
    }
    if not single:
        which = (
            f"Samples of the seeds {arguments.seeds}, in this order"
            if len(seeds) > 1
            else f"Sample of the seed {seeds[0]}"
        )
        facts["Description"] = which
        grid = png.grid(sampler(latent(seeds, sampler.dimensions)), columns, rows=rows)
        _write(out, lambda path: png.save_png(grid, path, arguments.scale, facts))
        shell.say(f"{out}: {len(seeds):,} samples")
        return
    pictures = (picture for batch in sampler.of(seeds) for picture in pixels.to_uint8(batch))
    for seed, picture in zip(seeds, pictures, strict=True):
        told = facts | {"Description": f"Sample of the seed {seed}"}
        _write(out / f"seed-{seed:06d}.png", lambda path: png.save_png(picture, path, arguments.scale, told))  # noqa: B023
    shell.say(f"{out}: {len(seeds):,} pictures, seed-{seeds[0]:06d}.png and so on")


def _write(path: Path, save: Callable[[Path], None]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".sample-") as folder:
        save(Path(folder) / path.name)
        (Path(folder) / path.name).replace(path)


def main(arguments: Sequence[str]) -> None:
    """Draw what the arguments ask for. Exits as every stage does."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.sample", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", required=True, help="numbers and ranges: 1,2,10-19")
    parser.add_argument("--grid", help="rows and columns, 4x8; places that are left stay white (about a square)")
    parser.add_argument("--out", required=True, help="a .png for all of them, or a folder for a file each")
    parser.add_argument("--model", type=Path, default=Path("models/generator.keras"), help="the generator")
    parser.add_argument("--scale", type=int, default=2, help="pixels to a side for each of the picture's (2)")
    parsed = parser.parse_args(arguments)
    shell.run("sample", lambda: _draw(parsed), lambda: None, tensorflow=True)
