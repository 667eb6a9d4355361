"""Emoji: the PNGs in the bitmaps of a font, one for each emoji of emoji-test.txt, whose groups are the classes.

A colour font with bitmaps has their places in its CBLC table and the PNGs in its CBDT table. Its cmap table has the
glyph of a code point, and the ligatures of its GSUB table have the glyph of a sequence (OpenType 1.9). Unicode's UTS
#51 describes emoji-test.txt.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import Settings
from stages.prepare.sources.facts import file_with_ending
from stages.prepare.sources.index import IndexBuilder, Names, Source

# 1F44D 1F3FD ; fully-qualified # 👍🏽 E1.0 thumbs up: medium skin tone
_ROW = re.compile(r"([0-9A-F]+(?: [0-9A-F]+)*) *; fully-qualified *# \S+ E[\d.]+ (.+)")
_GROUP = "# group: "
_VARIATION_SELECTOR_16 = 0xFE0F  # "as a picture, not as text": the font has only pictures, and no glyph for it
_LIGATURES, _EXTENSION = 4, 7  # types of GSUB lookups
# The image formats of CBDT with PNGs => the bytes before the PNG: the metrics and the PNG's length, which is last.
_HEADERS = {17: 9, 18: 12, 19: 4}


class _Emoji(NamedTuple):
    """An emoji of the list: its code points, the number of its group, and its name."""

    code_points: tuple[int, ...]
    group: int
    name: str

    @property
    def hexadecimal(self) -> str:
        """The code points as file names have them: 1F44D-1F3FD."""
        return "-".join(f"{code_point:04X}" for code_point in self.code_points)

    @property
    def family(self) -> str:
        """The name without skin tones. Emoji that differ only in these share it.

        Two people are called `kiss` with one skin tone, but `kiss: person, person` with two.
        """
        first, *others = re.split("[:,] ", self.name)
        return ", ".join([first, *(part for part in others if part != "person" and not part.endswith(" skin tone"))])


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """Every fully-qualified emoji, in the order of the code points. Skin tones of one emoji are in the same split."""
    font = file_with_ending(facts, folder, ".ttf")
    listed = file_with_ending(facts, folder, "emoji-test.txt")
    emoji = _read_list(listed, facts["classes"])
    places = _places(font, emoji)
    if missing := [e for e, place in zip(emoji, places, strict=True) if place is None]:
        raise StageError(
            f"{font}: no picture of {missing[0].hexadecimal} ({missing[0].name}) and {len(missing) - 1:,} others of "
            f"{listed.name}, so the font is older than the list; delete {folder} and run `dvc repro download`"
        )
    builder = IndexBuilder()
    for e, (offset, length) in zip(emoji, filter(None, places), strict=True):
        builder.add(0, Member(f"{e.hexadecimal}.png", offset, length, length, archives.PLAIN))
    splits = _splits(emoji, font.read_bytes(), [place for place in places if place], settings.test_share)
    index = builder.index(np.array([e.group for e in emoji]), splits)
    return Source(facts, tuple(facts["classes"]), ("train", "test"), (str(font),), index)


def _read_list(path: Path, groups: Sequence[str]) -> list[_Emoji]:
    """The fully-qualified emoji of emoji-test.txt. Raises StageError if there are none, or for an unknown group."""
    emoji, group = [], ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(_GROUP):
            group = line.removeprefix(_GROUP).strip()
        elif row := _ROW.match(line):
            if group not in groups:
                raise StageError(f"{path}: unknown group {group!r}; expected one of {', '.join(groups)}")
            code_points = tuple(int(code_point, 16) for code_point in row[1].split())
            emoji.append(_Emoji(code_points, groups.index(group), row[2]))
    if not emoji:
        raise StageError(f"{path}: no emoji in it, so it is not emoji-test.txt; delete it and download it again")
    return sorted(emoji)


def _places(path: Path, emoji: Sequence[_Emoji]) -> list[tuple[int, int] | None]:
    """The offset and length of each emoji's PNG in the font; None if the font does not have it.

    Raises StageError for a damaged font and for one without bitmaps.
    """
    from fontTools.ttLib import TTFont  # here: no other format needs it

    try:
        with TTFont(path, lazy=True) as font:
            has_bitmaps = "CBDT" in font and "CBLC" in font
            if has_bitmaps:
                glyph_of, ligatures, pictures = font.getBestCmap() or {}, _ligatures(font), _pictures(font)
    except Exception as error:  # a font may contain anything, and fontTools raises many kinds of errors
        raise StageError(
            f"{path}: not a font, or damaged ({str(error) or type(error).__name__}); delete it and download it again"
        ) from None
    if not has_bitmaps:
        raise StageError(
            f"{path}: no bitmaps (CBDT and CBLC tables), as in a COLRv1 build; use NotoColorEmoji.ttf, whose pictures "
            "are PNGs"
        )
    places = []
    for e in emoji:
        glyphs = tuple(glyph_of.get(c, "") for c in e.code_points if c != _VARIATION_SELECTOR_16)
        places.append(pictures.get(glyphs[0] if len(glyphs) == 1 else ligatures.get(glyphs, "")))
    return places


def _ligatures(font: Any) -> dict[tuple[str, ...], str]:
    """The glyph of each sequence of glyphs. The first lookup that has a sequence decides, as when text is drawn."""
    ligatures: dict[tuple[str, ...], str] = {}
    for lookup in font["GSUB"].table.LookupList.Lookup if "GSUB" in font else ():
        for table in lookup.SubTable:
            if table.LookupType == _EXTENSION:
                table = table.ExtSubTable
            if table.LookupType == _LIGATURES:
                for first, rest in table.ligatures.items():
                    for ligature in rest:
                        ligatures.setdefault((first, *ligature.Component), ligature.LigGlyph)
    return ligatures


def _pictures(font: Any) -> dict[str, tuple[int, int]]:
    """The offset and length in the file of each glyph's PNG, of the largest bitmaps."""
    data, start_of_table = font.reader["CBDT"], font.reader.tables["CBDT"].offset
    strike = max(font["CBLC"].strikes, key=lambda strike: strike.bitmapSizeTable.ppemY)
    pictures = {}
    for table in strike.indexSubTables:
        if table.imageFormat not in _HEADERS:
            raise ValueError(f"bitmaps of format {table.imageFormat}, which are no PNGs")
        header = _HEADERS[table.imageFormat]
        for glyph, (start, _) in zip(table.names, table.locations, strict=True):
            (length,) = struct.unpack_from(">I", data, start + header - 4)
            if start + header + length > len(data):
                raise ValueError(f"the bitmap of {glyph} ends outside the table CBDT")
            pictures[glyph] = (start_of_table + start + header, length)
    return pictures


def _splits(emoji: Sequence[_Emoji], font: bytes, places: Sequence[tuple[int, int]], test_share: float) -> np.ndarray:
    """The split of each emoji: 0 train, 1 test. There is no official one, so a hash of the family decides.

    Families whose first pictures are the same, such as the flags of Norway and Svalbard, count as one.
    """
    first_picture: dict[str, bytes] = {}
    first_family: dict[bytes, str] = {}
    for e, (offset, length) in zip(emoji, places, strict=True):
        picture = first_picture.setdefault(e.family, font[offset : offset + length])
        first_family.setdefault(picture, e.family)
    hashes = [Names.hash(first_family[first_picture[e.family]]) for e in emoji]
    return np.array([value < test_share * 2**64 for value in hashes]).astype(int)
