"""Which files of a folder or an archive are taken for pictures: by their names, before anything is read."""

EXTENSIONS = frozenset(
    ("", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
) | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".jp2", ".svg", ".eps"}
# What has no extension and is no picture.
_TEXTS = frozenset(("authors", "changelog", "copying", "license", "licence", "makefile", "notice", "readme", "version"))


def is_image_name(name: str) -> bool:
    """Whether a file is to be looked at: an image's extension, whatever its content proves to be, or none at all.

    Hidden files and what macOS and Windows leave in folders are not. `name` is a path with slashes.
    """
    if "/." in name or name.startswith(".") or "__MACOSX/" in name:
        parts = [part for part in name.split("/") if part not in (".", "..")]
        if any(part.startswith(".") for part in parts) or "__MACOSX" in parts:
            return False
    _, dot, extension = name.rpartition("/")[2].rpartition(".")
    if not dot:
        return extension.lower() not in _TEXTS
    return dot + extension.lower() in EXTENSIONS
