"""Pictures from this machine: a folder of pictures, a container of pictures, or a folder of containers."""

import functools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages import containers, image_names, shell
from stages.download import packing
from stages.download.packing import Fetched, Picture
from stages.image_names import is_hidden
from stages.transfer import SourceError


@dataclass(frozen=True)
class Contents:
    """What is in a folder: every file by its path below the folder, and why it is left out (None for a picture).

    `pictures` names the pictures and the files that may contain their labels. Without pictures, `containers` names the
    tables, else the archives, else the arrays, each with its name in data/raw.
    """

    files: Mapping[str, Path]
    reasons: Mapping[str, str | None]
    pictures: Sequence[str]
    containers: Mapping[str, str]


def _raise(error: OSError) -> None:
    raise error


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file below a resolved folder, including links, pipes and the like.

    Does not follow links to folders of the same tree, because they can form a cycle. Raises SourceError for a link to
    a folder outside: DVC would not notice a change there.
    """
    for place, folders, names in os.walk(folder, onerror=_raise):  # without onerror it skips unreadable folders
        for name in folders:
            link = Path(place) / name
            relative = link.relative_to(folder).as_posix()
            if not link.is_symlink():
                continue
            if not is_hidden(relative) and not link.resolve().is_relative_to(folder):
                raise SourceError(
                    f"{relative}: a link to a folder, where DVC would not notice a change; copy the pictures here, or "
                    f"set dataset.own to the folder that holds them all (dataset.own itself can be a link)"
                )
            yield link
        yield from (Path(place) / name for name in names)


def fetch(path: Path, folder: Path) -> Fetched:
    """Copy a container of pictures, or a folder of pictures, tables, archives or arrays, into `folder`.

    Raises SourceError.
    """
    if path.is_dir():
        return _fetch_folder(path.resolve(), folder)
    check_container(path)
    shutil.copyfile(path, folder / path.name)
    return Fetched([path.name])


def _left_out(name: str, path: Path) -> str | None:
    """Why a file is not packed as a picture; None for a picture."""
    kind = None if path.is_file() else "link" if path.is_symlink() else "special"
    return image_names.left_out(name) or kind


def contents(root: Path) -> Contents:
    """What is in a resolved folder. Raises SourceError if there are neither pictures nor containers of pictures."""
    files = {file.relative_to(root).as_posix(): file for file in _files_below(root)}
    reasons = {name: _left_out(name, file) for name, file in files.items()}
    pictures = packing.pictures_and_labels(reasons)
    kept = {} if pictures else _containers({name: file for name, file in files.items() if file.is_file()})
    return Contents(files, reasons, pictures, kept)


def check_container(path: Path) -> None:
    """Raise SourceError if there is no file at `path`, or one that is no container of pictures."""
    if not path.is_file():
        raise SourceError("no such folder or archive")
    if problem := containers.problem(containers.kind(path)):
        raise SourceError(f"not a folder, and {problem}" if problem == containers.NO_CONTAINER else problem)


def _fetch_folder(root: Path, folder: Path) -> Fetched:
    """Pack a folder's pictures and labels into one zip. Without pictures, copy its tables, else archives, else arrays.

    Raises SourceError.
    """
    found = contents(root)
    left_out = packing.report_left_out(found.reasons, {*found.containers, *found.pictures})
    if found.pictures:
        files = ((name, found.files[name]) for name in found.pictures)
        pictures = [Picture(name, file.stat().st_size, functools.partial(file.open, "rb")) for name, file in files]
        return Fetched(packing.pack(pictures, folder), left_out)
    for name, flat in found.containers.items():
        shutil.copyfile(found.files[name], folder / flat)
    return Fetched(list(found.containers.values()), left_out)


def _containers(files: Mapping[str, Path]) -> dict[str, str]:
    """The tables of a folder, else its archives, else its arrays, and the name of each in data/raw.

    If no name is that of a container, the contents decide. Raises SourceError if there are none, or if one cannot be
    read.
    """
    names = packing.tables(files) or packing.archives(files)
    kinds = {name: containers.kind(files[name]) for name in names or sorted(files) if not is_hidden(name)}
    for name, kind in kinds.items():
        problem = containers.problem(kind)
        if problem and (names or problem != containers.NO_CONTAINER):
            raise SourceError(f"{name}: {problem}")
    groups = ([name for name in kinds if kinds[name] in group] for group in packing.KINDS)
    names = names or next(filter(None, groups), [])
    if not names:
        only = f", only other files (first: {shell.printable(next(iter(kinds)))})" if kinds else ""
        raise SourceError(
            f"no pictures (.jpg, .png, .webp, .gif, .bmp, .tif and the like) and no archives{only}; copy pictures "
            "there, or set dataset.own to their folder"
        )
    return packing.flat_names(names)
