"""Look at pictures with the readers of the prepare stage: sizes, colours, borders, labels, copies, unreadable files.

The pictures are read where they are, and nothing is written but archives that are compressed as a whole.
"""

import concurrent.futures
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.download import disk, packing
from stages.errors import StageError
from stages.machine import cores
from stages.prepare.archives import Member
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings
from stages.prepare.sources import archive, formats
from stages.prepare.sources.index import Source
from stages.progress import Progress
from stages.transfer import SourceError

MOST = 1000
"""At most this many pictures are decoded, chosen by a hash of their names. Copies are searched among all."""
# Channels that differ by at most this much are gray to the eye: a gray JPEG in colour differs by 2 or 3.
_GRAY = 8
# A border is plain if this share of its pixels is this near to their median.
_PLAIN_SHARE, _PLAIN = 0.95, 16
_STRIDED = 64  # pixels per side in which the colours are looked at
_SETTINGS = Settings(channels=4)  # keeps transparency


@dataclass(frozen=True)
class Picture:
    """A decoded picture: its size in pixels, and what is seen of its colours.

    `light` is the mean brightness of its opaque part in [0, 255]. `border` is the colour of a plain border; empty if
    the border is transparent; None if it is neither.
    """

    width: int
    height: int
    is_gray: bool
    is_transparent: bool
    light: float
    border: tuple[int, ...] | None


@dataclass(frozen=True)
class Look:
    """What a place of pictures holds.

    `count`: all pictures. `looked_at`: those that were decoded, of which `pictures` could be read. `rejected` counts
    the others by the reason. `copies`: the pictures whose bytes are those of another, beyond the first of each kind.
    """

    place: Path
    count: int
    extensions: Counter[str]
    looked_at: int
    pictures: Sequence[Picture]
    rejected: Counter[str]
    copies: int
    classes: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def shorter_sides(self) -> np.ndarray:
        """The shorter side of each picture in pixels, (N,)."""
        return np.array([min(picture.width, picture.height) for picture in self.pictures])

    @property
    def ratios(self) -> np.ndarray:
        """Width divided by height of each picture, (N,)."""
        return np.array([picture.width / picture.height for picture in self.pictures])

    def share(self, holds: Callable[[Picture], bool]) -> float:
        """The share of the pictures for which something holds."""
        return sum(map(holds, self.pictures)) / len(self.pictures)


def find(place: Path, scratch: Path) -> Source:
    """The pictures of a folder, an archive or a file of arrays, read in place. `scratch` is for unpacked archives.

    Prints where labels and splits come from, as prepare does. Raises StageError if there is no picture.
    """
    try:
        if place.is_dir():
            folder = place.resolve()
            found = disk.contents(folder)
            names = list(found.pictures or found.containers)
            has_pictures = bool(found.pictures)
        else:
            disk.check_container(place)
            folder, names, has_pictures = place.parent, [place.name], False
    except (SourceError, PermissionError) as error:
        raise StageError(f"PICTURES: {place}: {error}") from None
    facts = {"title": place.name, "classes": [], "files": [{"name": name} for name in names]}
    if has_pictures:
        return archive.open_folder(facts, folder, names, Settings())
    facts["format"] = packing.format_of(folder / name for name in names)
    return formats.open_source(facts, folder, scratch, Settings())


def look(place: Path, source: Source) -> Look:
    """Decode a sample of the pictures, on all cores. Raises StageError if none of them can be read."""
    order = np.argsort(source.index.names.hashes(), kind="stable")[:MOST].tolist()
    with (
        Progress("looking", len(order), "pictures") as progress,
        concurrent.futures.ThreadPoolExecutor(cores()) as pool,
    ):
        seen: list[Picture | str] = []
        for picture in pool.map(lambda at: _picture(source, at), order):
            seen.append(picture)
            progress.advance(1)
    pictures = [picture for picture in seen if isinstance(picture, Picture)]
    rejected = Counter(reason for reason in seen if isinstance(reason, str))
    if not pictures:
        raise StageError(f"PICTURES: {place}: none of the pictures can be read ({listed(rejected)})")
    extensions = Counter(Path(name).suffix.lower().lstrip(".") or "no extension" for name in source.index.names)
    return Look(
        place,
        len(source.index),
        extensions if source.pixels is None else Counter({"arrays": len(source.index)}),
        len(order),
        pictures,
        rejected,
        _copies(source),
        source.classes,
        source.splits,
    )


def listed(counts: Counter[str]) -> str:
    """Names in words with their counts, the most frequent first: 480 jpg, 20 png, 2 not an image."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.most_common())


def _read(source: Source, at: int) -> bytes:
    member: Member = source.index.member(at)
    return source.read(source.files[int(source.index.file[at])], member)


def _picture(source: Source, at: int) -> Picture | str:
    """One picture, or the reason why it is rejected."""
    try:
        data = _read(source, at)
        image = decode(data, _SETTINGS) if source.pixels is None else source.pixels.image(data)
    except RejectedError as error:
        return f"{error.reason} ({error.detail})" if error.detail else error.reason
    return picture_of(image)


def picture_of(image: np.ndarray) -> Picture:
    """What is seen of decoded pixels, uint8 (H, W, 1, 3 or 4)."""
    height, width, channels = image.shape
    small = image[:: -(-height // _STRIDED), :: -(-width // _STRIDED)].reshape(-1, channels).astype(np.int16)
    opaque = small[small[:, 3] > 0, :3] if channels == 4 else small
    spread = np.ptp(opaque, axis=1) if len(opaque) else np.zeros(1)
    return Picture(
        width,
        height,
        is_gray=float(np.mean(spread <= _GRAY)) >= 0.99,
        is_transparent=channels == 4 and bool((image[..., 3] < 255).any()),
        light=float(opaque.mean()) if len(opaque) else 0.0,
        border=_border(image),
    )


def _border(image: np.ndarray) -> tuple[int, ...] | None:
    """The colour of a plain border of one pixel; empty if it is transparent; None if it is neither."""
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(np.int16)
    if edge.shape[1] == 4:
        return () if np.mean(edge[:, 3] == 0) >= _PLAIN_SHARE else None
    colour = np.median(edge, axis=0)
    if np.mean(np.abs(edge - colour).max(axis=1) <= _PLAIN) < _PLAIN_SHARE:
        return None
    return tuple(int(value) for value in np.broadcast_to(colour, 3))


def _copies(source: Source) -> int:
    """The pictures that are copies of another. Only those whose files have the same size are read."""
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for at, size in enumerate(source.index.size.tolist()):
        by_size[size].append(at)
    copies = 0
    for group in by_size.values():
        digests = {_digest(source, at) for at in group} if len(group) > 1 else {b""}
        copies += len(group) - len(digests)
    return copies


def _digest(source: Source, at: int) -> bytes:
    """The hash of a picture's bytes; its own number if it cannot be read."""
    try:
        return hashlib.sha256(_read(source, at)).digest()
    except RejectedError:
        return str(at).encode()
