"""The pictures of an emoji font, with a small font and list in the layouts of Noto Color Emoji and emoji-test.txt."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables import C_B_D_T_, E_B_L_C_, BitmapGlyphMetrics
from PIL import Image

from stages.errors import StageError
from stages.prepare.settings import Settings
from stages.prepare.sources.index import Source
from tests.archive_files import Files, classes_of, contents, decoded, open_data_set, splits_of

GROUPS = ["Smileys & Emotion", "People & Body", "Flags"]
# The parts of each sequence, without FE0F => the colour of its picture. The flags of Norway and Svalbard are the same.
COLOURS = {
    "1F600": (255, 200, 0, 255),
    "263A": (250, 190, 0, 0),
    "1F44D": (240, 180, 0, 255),
    "1F44D-1F3FB": (230, 210, 190, 255),
    "1F44D-1F3FF": (80, 60, 40, 255),
    "1F468-200D-1F680": (10, 20, 200, 255),
    "0023-20E3": (0, 100, 200, 255),
    "1F1F3-1F1F4": (200, 0, 0, 255),
    "1F1F8-1F1EF": (200, 0, 0, 255),
}
LIST = """# emoji-test.txt
# group: Smileys & Emotion
1F600 ; fully-qualified     # 😀 E1.0 grinning face
263A FE0F ; fully-qualified     # ☺️ E0.6 smiling face
263A ; unqualified         # ☺ E0.6 smiling face
# group: People & Body
# subgroup: hand-fingers-closed
1F44D ; fully-qualified     # 👍 E0.6 thumbs up
1F44D 1F3FB ; fully-qualified     # 👍🏻 E1.0 thumbs up: light skin tone
1F44D 1F3FF ; fully-qualified     # 👍🏿 E1.0 thumbs up: dark skin tone
1F468 200D 1F680 ; fully-qualified     # 👨‍🚀 E4.0 man astronaut
# group: Component
1F3FB ; component           # 🏻 E1.0 light skin tone
# group: Flags
0023 FE0F 20E3 ; fully-qualified     # #️⃣ E0.6 keycap: #
1F1F3 1F1F4 ; fully-qualified     # 🇳🇴 E2.0 flag: Norway
1F1F8 1F1EF ; fully-qualified     # 🇸🇯 E2.0 flag: Svalbard & Jan Mayen
# Flags subtotal: 3
"""
# In the order of the code points.
GROUP_OF = {
    "0023-FE0F-20E3.png": "Flags",
    "263A-FE0F.png": "Smileys & Emotion",
    "1F1F3-1F1F4.png": "Flags",
    "1F1F8-1F1EF.png": "Flags",
    "1F44D.png": "People & Body",
    "1F44D-1F3FB.png": "People & Body",
    "1F44D-1F3FF.png": "People & Body",
    "1F468-200D-1F680.png": "People & Body",
    "1F600.png": "Smileys & Emotion",
}

# The fields of the metrics of glyphs and lines. They do not matter here, but fontTools writes each.
METRICS = """height width BearingX BearingY Advance horiBearingX horiBearingY horiAdvance vertBearingX vertBearingY
vertAdvance ascender descender widthMax caretSlopeNumerator caretSlopeDenominator caretOffset minOriginSB minAdvanceSB
maxBeforeBL minAfterBL pad1 pad2"""


def png(colour: tuple[int, ...], side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", (side + 1, side), colour).save(out, "PNG")
    return out.getvalue()


def strike(font: TTFont, pictures: Mapping[str, bytes], index_format: int, image_format: int, side: int) -> Any:
    """The places (a strike of CBLC) and the bitmaps (of CBDT) of these glyphs."""
    metrics = BitmapGlyphMetrics.SmallGlyphMetrics() if image_format == 17 else BitmapGlyphMetrics.BigGlyphMetrics()
    lines = [E_B_L_C_.SbitLineMetrics(), E_B_L_C_.SbitLineMetrics()]
    for fields in (metrics, *lines):
        for name in METRICS.split():
            setattr(fields, name, 0)
    glyphs = {}
    for name, picture in pictures.items():
        glyphs[name] = C_B_D_T_.cbdt_bitmap_classes[image_format](None, font)
        glyphs[name].metrics, glyphs[name].imageData = metrics, picture
    table = getattr(E_B_L_C_, f"eblc_index_sub_table_{index_format}")(None, font)
    table.indexFormat, table.imageFormat, table.names = index_format, image_format, list(glyphs)
    places = E_B_L_C_.Strike()
    places.indexSubTables.append(table)
    size = places.bitmapSizeTable
    size.hori, size.vert = lines
    size.colorRef, size.ppemX, size.ppemY, size.bitDepth, size.flags = 0, side, side, 32, 1
    return places, glyphs


def make_font(
    colours: Mapping[str, tuple[int, ...]] = COLOURS,
    index_format: int = 1,
    image_format: int = 17,
    sides: tuple[int, ...] = (16,),
) -> bytes:
    """A font with these pictures: a code point is a glyph of the cmap table, a sequence is a ligature.

    It has bitmaps of each of the `sides` in pixels.
    """
    parts = sorted({part for name in colours for part in name.split("-")})
    ligatures = {name: f"ligature{i}" for i, name in enumerate(colours) if "-" in name}
    builder = FontBuilder(1024, isTTF=True)
    builder.setupGlyphOrder([".notdef", *(f"u{part}" for part in parts), *ligatures.values()])
    builder.setupCharacterMap({int(part, 16): f"u{part}" for part in parts})
    rules = [f"sub {' '.join(f'u{part}' for part in name.split('-'))} by {glyph};" for name, glyph in ligatures.items()]
    builder.addOpenTypeFeatures(f"feature ccmp {{ {' '.join(rules)} }} ccmp;")
    font = builder.font
    glyphs = {ligatures.get(name, f"u{name}"): colour for name, colour in colours.items()}
    ordered = [name for name in font.getGlyphOrder() if name in glyphs]
    if sides:
        strikes = [
            strike(font, {name: png(glyphs[name], side) for name in ordered}, index_format, image_format, side)
            for side in sides
        ]
        for tag in ("CBLC", "CBDT"):
            font[tag] = newTable(tag)
            font[tag].version = 3.0
        font["CBLC"].strikes, font["CBDT"].strikeData = map(list, zip(*strikes, strict=True))
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()


def open_emoji(folder: Path, font: bytes, listed: str = LIST, settings: Settings | None = None) -> Source:
    files: Files = {"NotoColorEmoji.ttf": font, "emoji-test.txt": listed.encode()}
    return open_data_set(folder, "emoji", files, settings, GROUPS)


@pytest.mark.parametrize(("index_format", "image_format"), [(1, 17), (3, 18), (4, 19)])
def test_each_fully_qualified_emoji_has_its_picture_in_the_order_of_the_code_points(
    tmp_path: Path, index_format: int, image_format: int
) -> None:
    source = open_emoji(tmp_path, make_font(COLOURS, index_format, image_format))
    expected = {key: png(COLOURS[key.removesuffix(".png").replace("-FE0F", "")]) for key in GROUP_OF}
    assert contents(source) == expected
    assert list(source.index.names) == list(expected)


def test_the_group_of_an_emoji_is_its_class(tmp_path: Path) -> None:
    assert classes_of(open_emoji(tmp_path, make_font())) == GROUP_OF


def test_the_largest_bitmaps_are_used(tmp_path: Path) -> None:
    source = open_emoji(tmp_path, make_font(sides=(8, 32, 16)))
    assert contents(source)["1F600.png"] == png(COLOURS["1F600"], 32)


def test_pictures_are_decoded_on_the_background(tmp_path: Path) -> None:
    settings = Settings(channels=3, background=(9, 8, 7))
    images = decoded(open_emoji(tmp_path, make_font(), settings=settings), settings)
    assert np.unique(images["263A-FE0F.png"].reshape(-1, 3), axis=0).tolist() == [[9, 8, 7]]
    assert images["1F44D-1F3FF.png"][0, 0].tolist() == [80, 60, 40]


@pytest.mark.parametrize(
    "rows",
    [
        ["👍 E0.6 thumbs up", "👍🏻 E1.0 thumbs up: light skin tone", "👍🏿 E1.0 thumbs up: medium-dark skin tone"],
        ["👨‍🦰 E11.0 man: red hair", "👨🏻‍🦰 E11.0 man: light skin tone, red hair"],
        [
            "💏 E0.6 kiss",
            "💏🏻 E13.1 kiss: light skin tone",
            "🧑 E13.1 kiss: person, person, light skin tone, dark skin tone",
        ],
        [
            "👫 E0.6 woman and man holding hands",
            "👩 E12.0 woman and man holding hands: light skin tone, dark skin tone",
        ],
    ],
    ids=["one person", "with hair", "two people", "two people with a gender"],
)
def test_emoji_that_differ_only_in_skin_tones_are_in_the_same_split(tmp_path: Path, rows: list[str]) -> None:
    # Two independent hashes would agree at all of 39 shares with a chance of only 1 in 40.
    codes = ["1F44D", "1F44D 1F3FB", "1F44D 1F3FF"][: len(rows)]
    listed = "# group: People & Body\n"
    listed += "".join(f"{code} ; fully-qualified # {row}\n" for code, row in zip(codes, rows, strict=True))
    listed += "# group: Flags\n1F1F3 1F1F4 ; fully-qualified     # 🇳🇴 E2.0 flag: Norway\n"
    font = make_font()
    splits = []
    for i in range(1, 40):
        source = open_emoji(tmp_path / str(i), font, listed, Settings(test_share=i / 40))
        of_people = {split for key, split in splits_of(source).items() if key.startswith("1F44D")}
        assert len(of_people) == 1
        splits.append(of_people.pop())
    assert splits == sorted(splits, reverse=True), "a larger share keeps the test images of a smaller one"


def test_emoji_with_the_same_picture_are_in_the_same_split(tmp_path: Path) -> None:
    font = make_font()
    for i in range(1, 40):
        splits = splits_of(open_emoji(tmp_path / str(i), font, settings=Settings(test_share=i / 40)))
        assert splits["1F1F3-1F1F4.png"] == splits["1F1F8-1F1EF.png"]


def test_different_emoji_are_in_both_splits(tmp_path: Path) -> None:
    colours = {f"1F4{i:02X}": (i, 0, 0, 255) for i in range(200)}
    rows = "".join(f"{name} ; fully-qualified # x E1.0 object {name}\n" for name in colours)
    source = open_emoji(tmp_path, make_font(colours), f"# group: Flags\n{rows}", Settings(test_share=0.25))
    assert source.splits == ("train", "test")
    assert 30 < sum(split == "test" for split in splits_of(source).values()) < 70


FONT = make_font()
WITHOUT_ONE = {name: colour for name, colour in COLOURS.items() if name != "1F468-200D-1F680"}
FONT_DAMAGE = {
    "no bitmaps": (make_font(sides=()), "no bitmaps (CBDT and CBLC tables), as in a COLRv1 build; use NotoColorEmoji"),
    "too old": (
        make_font(WITHOUT_ONE),
        "no picture of 1F468-200D-1F680 (man astronaut) and 0 others of emoji-test.txt",
    ),
    "cut in half": (FONT[: len(FONT) // 2], "not a font, or damaged ("),
    "cut at the end": (FONT[:-100], "not a font, or damaged ("),
    "empty": (b"", "not a font, or damaged ("),
    "a web page": (b"<html>" * 100, "not a font, or damaged ("),
    "bitmaps that are no PNGs": (FONT.replace(b"\x00\x01\x00\x11", b"\x00\x01\x00\x01"), "bitmaps of format 1, which"),
}


@pytest.mark.parametrize("name", FONT_DAMAGE)
def test_a_font_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, name: str) -> None:
    font, complaint = FONT_DAMAGE[name]
    with pytest.raises(StageError, match=rf"NotoColorEmoji\.ttf: .*{re.escape(complaint)}") as caught:
        open_emoji(tmp_path, font)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        ("", "no emoji in it, so it is not emoji-test.txt; delete it and download it again"),
        ("1F600 ; Emoji # E1.0 [1] (😀) grinning face", "no emoji in it"),
        (LIST.replace("group: Flags", "group: Banners"), "unknown group 'Banners'; expected one of Smileys"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, listed: str, complaint: str) -> None:
    with pytest.raises(StageError, match=rf"emoji-test\.txt: {re.escape(complaint)}"):
        open_emoji(tmp_path, FONT, listed)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"expected one file …emoji-test\.txt, found 0"):
        open_data_set(tmp_path, "emoji", {"NotoColorEmoji.ttf": FONT}, None, GROUPS)
