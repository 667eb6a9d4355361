"""CelebA as Kaggle has it: its lists are CSV files, and its zip has another size than the publisher's.

No hash of these files is published. So the zip must list every picture.
"""

import shutil
import zipfile
from pathlib import Path

from stages.download.catalog import DataSet
from stages.transfer import SourceError

_ZIP = ".zip"


def copy(dataset: DataSet, place: Path, folder: Path) -> None:
    """Copy a zip of all pictures, and the lists that are in it or beside it, to `folder` under the catalog's names.

    Raises SourceError if `place` has no zip of `dataset.images` pictures, or lacks a list.
    """
    zips = [path for path in sorted(place.glob(f"*{_ZIP}")) if _pictures_in(path) == dataset.images]
    if not zips:
        raise SourceError(f"no zip of {dataset.images:,} pictures there")
    for file in dataset.files:
        if file.name.endswith(_ZIP):
            shutil.copyfile(zips[0], folder / file.name)
        else:
            (folder / file.name).write_bytes(_list(place, zips[0], f"{Path(file.name).stem}.csv"))


def _pictures_in(path: Path) -> int:
    """The number of JPEGs in a zip; 0 if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(name.endswith(".jpg") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return 0


def _list(place: Path, path: Path, name: str) -> bytes:
    """The content of a list: a file in `place`, or a member of the zip."""
    if (place / name).is_file():
        return (place / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        if member := next((member for member in archive.namelist() if member.rpartition("/")[2] == name), None):
            return archive.read(member)
    raise SourceError(f"{name} is neither there nor in {path.name}")
