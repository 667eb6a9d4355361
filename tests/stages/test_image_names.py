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
        ("folder.d/name", True),
        ("folder/.hidden.png", False),
        (".hidden/a.png", False),
        ("__MACOSX/a.png", False),
        ("folder/__MACOSX/._a.png", False),
        ("../a.png", True),
        ("./a.png", True),
        (".png", False),
    ],
)
def test_the_name_decides_whether_a_file_is_a_picture(name: str, expected: bool) -> None:
    assert image_names.is_image_name(name) == expected
