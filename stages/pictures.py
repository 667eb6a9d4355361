"""Which files of a folder or an archive are taken for pictures: by their names, before anything is read."""

EXTENSIONS = frozenset(
    ("", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
) | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".jp2", ".svg", ".eps"}


def is_candidate(name: str) -> bool:
    """Whether a file is to be looked at: an image's extension, whatever its content proves to be, or none at all.

    Hidden files and what macOS and Windows leave in folders are not. `name` is a path with slashes.
    """
    if "/." in name or name.startswith((".", "__MACOSX/")):
        parts = [part for part in name.split("/") if part not in (".", "..")]
        if any(part.startswith(".") for part in parts) or "__MACOSX" in parts:
            return False
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return (dot + extension.lower() if dot and stem else "") in EXTENSIONS
