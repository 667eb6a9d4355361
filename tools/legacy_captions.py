"""Provenance from the captions and model cards of commits that had no machine keys.

Up to November 2026 a PNG had only captions (Description, Source, Params), and a model card had no YAML front matter.
`make whence` reads them with the regular expressions below, so that old pictures still work. Nothing else does.
"""

import contextlib
import html
import re
from dataclasses import replace

from stages.errors import StageError
from stages.png import Picture, Provenance
from stages.sample.command_line import parse_seeds

# Descriptions of pictures that show exactly the samples of their seeds.
_SEEDS = (
    r"Samples of the seeds (\d+) to (\d+) in order, uncurated",
    r"Samples of the seeds ([\d, -]+), in this order",
    r"Sample of the seed (\d+)",
    r"Sample of the place (\d+) \(.*",
    r"The \d+ samples of lowest realism .*: seeds ([\d, ]+)",
)
# Each stage that drew pictures, by a setting that only this stage had.
_STAGES = {"interpolate": "sample", "mode_threshold": "evaluate", "records_per_shard": "prepare"}
_CARD = {
    "data": r"^## Data and licence\n\n- (.*)",
    "manifest": r"^- Data: manifest `(.*)`",
    "checkpoint": r"checkpoint after (.* images seen)",
    "params": r"^- Params: (.*)",
    "environment": r"^- (TensorFlow .*)",
}
_GAP = 2  # pixels between the images of a grid
_MAX_SCALE = 64


def with_keys(captions: Provenance) -> Provenance:
    """The provenance of a PNG that has only captions, with the keys that can be read from them."""
    return replace(
        captions,
        stage=next((stage for setting, stage in _STAGES.items() if setting in captions.params), ""),
        seeds=_seeds(captions.description),
        generator_sha256=_hash("(?<!manifest )", captions.source),
        manifest_sha256=_hash("manifest ", captions.source),
    )


def _hash(before: str, source: str) -> str:
    match = re.search(rf"{before}SHA-256 ([0-9a-f]{{64}})\b", source)
    return match[1] if match else ""


def _seeds(description: str) -> str:
    for pattern in _SEEDS:
        if match := re.fullmatch(pattern, description):
            seeds = "-".join(match.groups()).replace(" ", "")
            with contextlib.suppress(StageError):
                return seeds if parse_seeds(seeds) else ""
    return ""


def with_layout(picture: Picture, provenance: Provenance, image: tuple[int, int] | None) -> Provenance:
    """The provenance with the grid and the scale, from the picture's size and that of one image (height, width).

    A picture from the demo names no scale, and one of more than 40 megapixels has a smaller scale than its params say.
    """
    named = provenance.params.get("scale")
    named = named if isinstance(named, int) and 1 <= named <= _MAX_SCALE else 0
    for scale in (named, *range(_MAX_SCALE, 0, -1)) if image else ():
        if scale and (places := _places(picture, image, scale)) and provenance.seeds:
            rows, columns = places
            if rows * columns >= len(parse_seeds(provenance.seeds)):
                return replace(provenance, grid=f"{rows}x{columns}", scale=scale)
    return replace(provenance, scale=named)


def _places(picture: Picture, image: tuple[int, int] | None, scale: int) -> tuple[int, int] | None:
    """The rows and columns of images in a picture; None where its size is not that of a grid at this scale."""
    if image is None or picture.height % scale or picture.width % scale:
        return None
    rows, odd_height = divmod(picture.height // scale + _GAP, image[0] + _GAP)
    columns, odd_width = divmod(picture.width // scale + _GAP, image[1] + _GAP)
    return None if odd_height or odd_width else (rows, columns)


def card_facts(card: str) -> dict[str, str]:
    """The facts in a model card without front matter, by the names that `make whence` prints."""
    matches = {name: re.search(pattern, card, re.MULTILINE) for name, pattern in _CARD.items()}
    return {name: _without_escapes(match[1]) for name, match in matches.items() if match}


def _without_escapes(markdown: str) -> str:
    return html.unescape(re.sub(r"\\([^\w\s])", r"\1", markdown).replace("\\_", "_"))


def card_image(card: str) -> tuple[int, int] | None:
    """The (height, width) of one image in a model card without front matter."""
    match = re.search(r"picture of (\d+)×(\d+)×\d", card)
    return (int(match[1]), int(match[2])) if match else None
