"""Decides by its name whether a file is an image or may contain labels, before anything is read."""

import functools
import re
from typing import Literal, get_args

LeftOut = Literal["other_type", "labels", "unlabelled", "max_images", "thin", "hidden", "program", "link", "special"]
"""Why a file is left out before it is read.

other_type: its name is not that of a picture. labels: it may contain the pictures' labels. unlabelled: its split has no
labels, but others have. max_images, thin: `prepare.max_images` or `prepare.thin` leaves it out. hidden: it or its
folder begins with a dot. program: a system or a program keeps it for itself (thumbnails, originals, deleted files).
link: it links to nothing that can be read. special: a device, a pipe or a sparse file.
"""
LEFT_OUT: tuple[LeftOut, ...] = get_args(LeftOut)

EXTENSIONS = frozenset(
    ("", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
) | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".jp2", ".svg", ".eps"}
# HEIF, JPEG 2000, JPEG XL, icons, layers and camera raw: `decode` reads them, or rejects them by the format's name.
EXTENSIONS |= {".heif", ".hif", ".avifs", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".jxl", ".ico", ".psd", ".dng"}
EXTENSIONS |= {".cr2", ".cr3", ".crw", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".x3f"}
_LABELS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".cls")
# What scrapers and browsers append to the name of a picture: photo.jpg?w=600, photo.jpg@w=600 (wget on Windows),
# photo.jpg.1 (wget), photo.jpg (1), photo.jpg:large, photo.jpg_large, photo.jpg!thumb.
_SCRAPED = re.compile(
    r".\.(jpe?g|jpe|jfif|a?png|webp|gif|bmp|tiff?|avif|hei[cf])"
    r"([?&;:!#].*|%3f.*|@[^@]*=.*|\.\d{1,4}|[ _-]?\(\d+\)|[_-](large|orig|medium|small))$",
    re.IGNORECASE | re.DOTALL,
)
# Common text files without an extension.
_TEXTS = frozenset(("authors", "changelog", "copying", "license", "licence", "makefile", "notice", "readme", "version"))
# Files and folders of macOS, Windows, Linux, NAS devices (Synology, QNAP) and photo programs, in lower case.
_PROGRAMS = frozenset(("__macosx", ".ds_store", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd", "icon\r"))
_PROGRAMS |= {"thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"}
_PROGRAMS |= {"lost+found", ".thumbnails", ".thumbs", ".xvpics", ".comments", ".directory"}
_PROGRAMS |= {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", ".@__thumb"}
_PROGRAMS |= {"~snapshot", "_vti_cnf", "ipod photo cache", ".picasaoriginals", ".picasa.ini", "picasa.ini"}
_THUMBNAIL_OF_SYNOLOGY = re.compile(r"SYNO(PHOTO|FILE|VIDEO)_THUMB")


@functools.lru_cache(maxsize=4096)
def _left_out_folder(folder: str) -> LeftOut | None:
    """Why everything in a folder is left out; None if it is not. Archives have millions of names, but few folders."""
    parts = [part for part in folder.lower().split("/") if part not in ("", ".", "..")]
    if any(part in _PROGRAMS or part.startswith(".trash") for part in parts):
        return "program"
    return "hidden" if any(part.startswith(".") for part in parts) else None


def _is_program_file(file: str) -> bool:
    """Whether a system or a program keeps the file with this name for itself."""
    if file.startswith("._"):  # the half of a file that macOS writes to other file systems
        return True
    return file.lower() in _PROGRAMS or _THUMBNAIL_OF_SYNOLOGY.match(file) is not None


def _has_image_extension(file: str) -> bool:
    _, dot, extension = file.rpartition(".")
    if not dot:
        return extension.lower() not in _TEXTS and not extension.endswith("-ubyte")  # MNIST's idx files
    return dot + extension.lower() in EXTENSIONS


def left_out(name: str) -> LeftOut | None:
    """Why the file with this path (with slashes) is left out; None if it may be a picture."""
    folder, _, file = name.rpartition("/")
    if reason := _left_out_folder(folder) if folder else None:
        return reason
    if _is_program_file(file):
        return "program"
    if file.startswith("."):
        return "hidden"
    if _has_image_extension(file) or _SCRAPED.search(file) or _has_image_extension(file.partition("?")[0]):
        return None
    return "labels" if file.lower().endswith(_LABELS) else "other_type"


def is_hidden(name: str) -> bool:
    """Whether a path (with slashes) is hidden, or of a system or a program, whatever the type of the file."""
    return left_out(name) in ("hidden", "program")


def is_image_name(name: str) -> bool:
    """Whether a path (with slashes) has an image's extension, or none, and is neither hidden nor of a program."""
    return left_out(name) is None
