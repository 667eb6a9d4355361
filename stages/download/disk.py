"""Pictures from this machine: a folder of pictures, an archive, or a folder of archives."""

import functools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from stages.download import packing
from stages.download.packing import NOT_AN_ARCHIVE, Picture
from stages.image_names import is_hidden
from stages.transfer import SourceError


def _raise(error: OSError) -> None:
    raise error


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file below a resolved folder, including links to files.

    Skips links to folders of the same tree, because they can form a cycle. Raises SourceError for a link to a folder
    outside: DVC would not notice a change there.
    """
    for place, folders, names in os.walk(folder, onerror=_raise):  # without onerror it skips unreadable folders
        for name in folders:
            link = Path(place) / name
            relative = link.relative_to(folder).as_posix()
            if link.is_symlink() and not is_hidden(relative) and not link.resolve().is_relative_to(folder):
                raise SourceError(
                    f"{relative}: a link to a folder, where DVC would not notice a change; copy the pictures here, or "
                    f"set dataset.own to the folder that holds them all (dataset.own itself can be a link)"
                )
        for name in names:
            if (path := Path(place) / name).is_file():
                yield path


def fetch(path: Path, folder: Path) -> list[str]:
    """Copy an archive, or a folder of pictures, tables or archives, into `folder`. Returns the names of the new files.

    Raises SourceError.
    """
    if path.is_dir():
        return _fetch_folder(path.resolve(), folder)
    if not path.is_file():
        raise SourceError("no such folder or archive")
    if not packing.is_archive(path):
        raise SourceError(f"not a folder, and {NOT_AN_ARCHIVE}")
    shutil.copyfile(path, folder / path.name)
    return [path.name]


def _fetch_folder(root: Path, folder: Path) -> list[str]:
    """Pack a folder's pictures and labels into one zip. Without pictures, copy its tables; without these, its archives.

    Raises SourceError.
    """
    files = {file.relative_to(root).as_posix(): file for file in _files_below(root)}
    pictures = [
        Picture(name, files[name].stat().st_size, functools.partial(files[name].open, "rb"))
        for name in packing.pictures_and_labels(files)
    ]
    if pictures:
        packing.report_skipped(files)
        return packing.pack(pictures, folder)
    names = packing.names_ending(files, packing.TABLES) or packing.names_ending(files, packing.ARCHIVES)
    if not names:
        raise SourceError(
            "no pictures (.jpg, .png, .webp, .gif, .bmp, .tif and the like) and no archives; copy pictures there, or "
            "set dataset.own to their folder"
        )
    kept = packing.flat_names(names)
    for name, flat in kept.items():
        if not packing.is_archive(files[name]):
            raise SourceError(f"{name}: {NOT_AN_ARCHIVE}")
        shutil.copyfile(files[name], folder / flat)
    return list(kept.values())
