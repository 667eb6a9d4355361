"""Decides by its name whether a file is an image or may contain labels, before anything is read."""

EXTENSIONS = frozenset(
    ("", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
) | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".jp2", ".svg", ".eps"}
_LABELS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".cls")
# Common text files without an extension.
_TEXTS = frozenset(("authors", "changelog", "copying", "license", "licence", "makefile", "notice", "readme", "version"))


def is_hidden(name: str) -> bool:
    """Whether a path (with slashes) is hidden, in a hidden folder, or in a folder that macOS adds to archives."""
    if not ("/." in name or name.startswith(".") or "__MACOSX" in name):
        return False  # the usual case, fast: archives have millions of names
    parts = [part for part in name.split("/") if part not in (".", "..")]
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def is_image_name(name: str) -> bool:
    """Whether a path (with slashes) has an image's extension, or none. Hidden files are not images."""
    if is_hidden(name):
        return False
    _, dot, extension = name.rpartition("/")[2].rpartition(".")
    if not dot:
        return extension.lower() not in _TEXTS
    return dot + extension.lower() in EXTENSIONS


def is_label_name(name: str) -> bool:
    """Whether a path (with slashes) has the extension of a file that may contain labels."""
    return name.lower().endswith(_LABELS) and not is_hidden(name)
