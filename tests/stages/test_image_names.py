"""Which file names count as pictures."""

import pytest

from stages import image_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((f"a{ending}", True) for ending in (".jpg", ".JPEG", ".png", ".webp", ".gif", ".bmp", ".tif", ".ppm", "")),
        # Names of pictures in formats that the decoder rejects.
        *((f"a{ending}", True) for ending in (".avif", ".heic", ".svg", ".eps")),
        *((f"a{ending}", False) for ending in (".txt", ".json", ".py", ".zip", ".db", ".png.txt", ".", ".jpg~")),
        *((f"a{ending}", False) for ending in (".jpg_original", ".jpg@SynoEAStream", "-images-idx3-ubyte", ".tar.1")),
        # Names as scrapers and browsers write them.
        *((f"photo.jpg{appended}", True) for appended in ("?w=600", "?w=600&h=4.5", ".1", ".12", "%3Fw=6")),
        *(
            (f"photo.JPEG{appended}", True)
            for appended in ("@w=600", ":large", "_large", "!thumb", " (1)", "(2)", "#1")
        ),
        *((f"{name}?q=0.8", True) for name in ("photo", "a/photo.webp")),
        ("view.php?id=4.5", False),
        ("view.php?image=photo.jpg", True),
        ("folder.d/name", True),
        ("folder/.hidden.png", False),
        (".hidden/a.png", False),
        ("__MACOSX/a.png", False),
        ("folder/__MACOSX/._a.png", False),
        ("../a.png", True),
        ("./a.png", True),
        (".png", False),
        # Files that systems and programs keep for themselves.
        ("a/@eaDir/photo.jpg/SYNOPHOTO_THUMB_M.jpg", False),
        ("SYNOFILE_THUMB_XL.png", False),
        ("@eadir/1.png", False),
        ("#recycle/cats/1.png", False),
        *((f"a/{folder}/1.jpg", False) for folder in ("~snapshot", "iPod Photo Cache", "_vti_cnf")),
        ("$RECYCLE.BIN/S-1-5/$R1.png", False),
        ("a/.picasaoriginals/1.jpg", False),
        ("Icon\r", False),
        ("lost+found/1.png", False),
        ("@home/1.png", True),
        ("#1/2.png", True),
        ("thumbnails128x128/1.png", True),
    ],
)
def test_the_name_decides_whether_a_file_is_a_picture(name: str, expected: bool) -> None:
    assert image_names.is_image_name(name) == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("notes.txt", "other_type"),
        (".hidden/notes.txt", "hidden"),
        ("a/.DS_Store", "program"),
        ("__MACOSX/a/._1.png", "program"),
        ("._1.png", "program"),
        ("thumbs.db", "program"),
        ("a/.Trash-1000/1.png", "program"),
        (".thumbnails/.1.png", "program"),
        ("1.png", None),
    ],
)
def test_every_file_that_is_left_out_has_a_reason(name: str, reason: str | None) -> None:
    assert image_names.left_out(name) == reason
