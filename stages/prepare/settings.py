"""The settings of the prepare stage."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stages import sizes
from stages.params import FORBID_UNKNOWN, Float, Int, Seed, Text

# (left, top, right, bottom) in CelebA's aligned 178×218 images. Named, because scores of different crops are not
# comparable.
CELEBA_CROPS = {
    "celeba_108": (35, 55, 143, 163),  # DCGAN-tensorflow
    "celeba_128": (25, 57, 153, 185),  # StyleGAN2
    "celeba_138": (30, 40, 168, 178),  # dcgan.torch
    "celeba_140": (19, 39, 159, 179),  # WAE
    "celeba_148": (15, 35, 163, 183),  # PyTorch-VAE
    "celeba_160": (9, 29, 169, 189),  # compare_gan
    "celeba_178": (0, 20, 178, 198),  # mimicry, StarGAN
}


def _crop(value: object) -> object:
    """Check a crop: a word or a box. A box becomes a tuple."""
    if isinstance(value, str) and value in ("none", "square", *CELEBA_CROPS):
        return value
    if isinstance(value, list | tuple) and len(value) == 4 and all(type(edge) is int for edge in value):
        left, top, right, bottom = value
        if 0 <= left < right and 0 <= top < bottom:
            return tuple(value)
    raise ValueError(
        f"expected none, square, {', '.join(CELEBA_CROPS)} or [left, top, right, bottom] in whole pixels with "
        f"0 ≤ left < right and 0 ≤ top < bottom, got {value!r}"
    )


@dataclass(frozen=True)
class LabelColumn:
    """A column of labels in a table. `file` is the table's name or the end of its path; empty: any table."""

    column: Text
    file: str = ""

    def __repr__(self) -> str:
        """As in params.yaml."""
        return f"{{{f'file: {self.file}, ' if self.file else ''}column: {self.column}}}"


def _labels(value: object) -> object:
    """Check labels: a word, a list of attributes or a column. A list becomes a tuple, a mapping a `LabelColumn`."""
    if value in ("auto", "none", "folders"):
        return value
    if isinstance(value, list | tuple) and 1 <= len(value) <= 4 and all(isinstance(name, str) for name in value):
        return tuple(value)
    is_column = isinstance(value, dict) and value.keys() in ({"column"}, {"file", "column"})
    if is_column and all(isinstance(name, str) and name for name in value.values()):  # type: ignore[attr-defined]
        return LabelColumn(**value)  # type: ignore[arg-type]
    raise ValueError(
        "expected auto, none, folders, {file: labels.csv, column: breed} or a list of one to four attribute names, got "
        f"{value!r}"
    )


def _size(value: object) -> object:
    """Check a size: a side or [height, width]. The size of a square becomes its side."""
    parts: Any = value if isinstance(value, list | tuple) else [value, value]
    if len(parts) != 2 or any(type(side) is not int for side in parts):
        raise ValueError(f"expected a side in pixels or [height, width], got {value!r}")
    height, width = parts
    sizes.doublings((height, width))
    return height if height == width else (height, width)


_NEWER = ("white", "max_images", "thin")  # keys that the first manifests did not have

Crop = Annotated[str | tuple[int, int, int, int], BeforeValidator(_crop)]
Byte = Annotated[Int, Field(ge=0, le=255)]


@dataclass(frozen=True)
class Settings:
    """The `prepare` section, in the order of the work: decode, crop, fit into the size, normalise, write."""

    __pydantic_config__ = FORBID_UNKNOWN

    crop: Crop = "none"
    """none; square, the largest centred square; a named crop of CelebA (celeba_108, …); or a box [left, top, right,
    bottom] in pixels, right and bottom exclusive. A picture smaller than the box is rejected (`outside_crop`)."""
    size: Annotated[int | tuple[int, int], BeforeValidator(_size)] = 32
    """The side of square images, or [height, width]. A side is a power of two, or 3, 5 or 7 times one, from 16 to 1024
    pixels: 16, 20, 24, 28, 32, 40, … (stages/sizes.py)."""
    fit: Literal["resize", "pad"] = "resize"
    """resize: stretch to the size in both directions; pad: keep the proportions, never enlarge, and add borders."""
    resample: Literal["area", "bilinear", "bicubic", "lanczos"] = "area"
    """The antialiased filter: area (OpenCV's; linear when it enlarges), or Pillow's bilinear, bicubic or lanczos."""
    channels: Literal[1, 3, 4] = 1
    """1 gray, 3 colour, 4 colour and alpha. Gray becomes colour by repetition, colour becomes gray by its luma (ITU-R
    BT.601). Alpha is straight, as in a PNG, so records and samples hold what a PNG holds."""
    background: tuple[Byte, Byte, Byte] = (0, 0, 0)
    """The colour (red, green, blue) behind transparent pixels and around padded images; not used with alpha."""
    min_size: Annotated[Int, Field(ge=1)] = 1
    """A picture whose shorter side has fewer pixels is rejected (`too_small`). Others are enlarged if needed."""
    max_pixels: Annotated[Int, Field(ge=1, le=1 << 30)] = 89_478_485
    """A picture with more pixels is rejected before it is decoded (`too_large`). The default is Pillow's."""
    white: Annotated[Int, Field(ge=255, le=65535)] = 65535
    """The value of white in PNGs and TIFFs with 16-bit values, such as 4095 for values of 12 bits."""
    animated: Literal["first_frame", "reject"] = "first_frame"
    """For a picture with several frames or pages: use the first one, or reject it (`animated`)."""
    labels: Annotated[Text | tuple[Text, ...] | LabelColumn, BeforeValidator(_labels)] = "auto"
    """auto: the data set's own labels, a table of labels beside the pictures, or folders; none; folders, whatever else
    there is; {file: labels.csv, column: breed}, a column of a table beside the pictures ({column: breed} for parquet
    tables, and if any file will do); or a list of CelebA's attributes, each yes or no."""
    max_images: Annotated[Int, Field(ge=0)] = 0
    """Use at most this many pictures, counting all splits; 0: all. The hash of a name decides, so the order of the
    files does not matter, and a larger number keeps the pictures of a smaller one."""
    thin: dict[Text, Annotated[Float, Field(gt=0, lt=1)]] = field(default_factory=dict)
    """Use only this share of the pictures of a class, in all splits, to make the data unbalanced: {Sneaker: 0.2}. The
    hash of a name decides, as for max_images."""
    test_share: Annotated[Float, Field(gt=0, lt=1)] = 0.1
    """The share of the pictures in the test split, if there is no official one. A hash of the pixels decides; for
    emoji, a hash of the name without its skin tones."""
    max_rejected: Annotated[Float, Field(ge=0, le=1)] = 0.01
    """The stage fails if a larger share of the pictures is rejected."""
    dtype: Literal["float32", "uint8"] = "float32"
    """How pixels are stored: normalised values, or bytes (a quarter of the size) that are normalised on reading."""
    records_per_shard: Annotated[Int, Field(ge=1)] = 2048
    """The maximum number of records in a shard. Records are spread evenly over the shards."""
    seed: Seed = 0
    """Decides the order of the records."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        return (*sizes.sides(self.size), self.channels)

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings for the manifest. A newer key is absent at its default, so that older data keeps its bytes."""
        defaults = dataclasses.asdict(Settings())
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in _NEWER or value != defaults[name]
        }
