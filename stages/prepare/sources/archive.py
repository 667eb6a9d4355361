"""Any zip or tar archives of image files. Tables in them or folders name the classes; folders name the splits."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import shell
from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives import Member
from stages.prepare.settings import LabelColumn, Settings
from stages.prepare.sources.folders import Folders, file_splits, read_folders, shortened
from stages.prepare.sources.index import NO_LABEL, IndexBuilder, Source
from stages.prepare.sources.label_files import INSTEAD_OF_FOLDERS, LabelFiles
from stages.prepare.sources.labels import LABEL_COLUMNS, Labels, choose_column, column_labels, with_labels


def open_source(facts: dict[str, Any], folder: Path, scratch: Path, settings: Settings) -> Source:
    """One archive or several as one data set. Prints where its splits and labels are from.

    The splits are those of the archives' names (train-0000.tar, val-0000.tar), else of the folders.
    """
    builder, tables, files = IndexBuilder(), IndexBuilder(), []
    for number, file in enumerate(facts["files"]):
        origin = folder / file["name"]
        path = archives.unpacked(origin, scratch)
        builder.add_archive(number, path, origin, tables)
        files.append(str(path))
    top = [f"{file['name']}/" for file in facts["files"]]
    return _source(facts, folder, builder, tables, files, top if file_splits(top) else [""] * len(top), settings)


def open_folder(facts: dict[str, Any], folder: Path, names: Sequence[str], settings: Settings) -> Source:
    """The pictures and tables of a folder, by their paths in it, as if they were in one archive. Prints the same."""
    builder, tables, files = IndexBuilder(), IndexBuilder(), []
    for number, name in enumerate(names):
        size = (folder / name).stat().st_size
        builder.add_member(number, Member(name, 0, size, size, archives.PLAIN), tables)
        files.append(str(folder / name))
    return _source(facts, folder, builder, tables, files, None, settings)


def _source(
    facts: dict[str, Any],
    folder: Path,
    builder: IndexBuilder,
    others: IndexBuilder,
    files: Sequence[str],
    top: Sequence[str] | None,
    settings: Settings,
) -> Source:
    """The source of the pictures in `builder`, with splits and labels. `others` are the tables that may hold labels.

    `files` are archives, and `top` has the folder to add to the names in each. Without `top` they are the pictures and
    tables of one folder.
    """
    index = builder.index()
    if builder.first_other and not len(index):
        raise StageError(
            f"{folder}: no pictures in {facts['title']} ({sum(index.left_out.values()):,} other files, first: "
            f"{builder.first_other}). Archives in archives are not read: unpack the outer one"
        )
    names = (top[number] + name if top else name for number, name in zip(index.file, builder.names, strict=True))
    folders = read_folders(names, settings.labels == "folders")
    index.split[:] = folders.split
    source = Source(facts, (), folders.splits, tuple(files), index)
    _say_splits(folders)
    if settings.labels == "none":
        return source
    if settings.labels == "folders":
        return with_labels(source, _folder_labels(folders, (), are_wanted=True))
    tables = LabelFiles(builder, others, files, are_archives=top is not None)
    if isinstance(settings.labels, LabelColumn):
        return with_labels(source, _wanted_labels(tables, settings.labels))
    return with_labels(source, _auto_labels(folders, tables))


def _say_splits(folders: Folders) -> None:
    """Print which folders are splits, unless they are named so."""
    names = folders.split_folders
    if names and not folders.splits:
        shell.say(
            f"no official splits: {names[0]} can only be splits beside a folder of training pictures; set "
            "prepare.labels: folders if they are classes"
        )
    elif names != folders.splits:
        pairs = zip(folders.splits, names, strict=True)
        shell.say(f"splits: {'; '.join(f'{split} from {name}' for split, name in pairs if split != name)}")


def _wanted_labels(tables: LabelFiles, wanted: LabelColumn) -> Labels:
    """The labels of the column that the params name. Raises StageError if it does not exist."""
    tables.read(wanted.file, wanted.column)
    if wanted.column in tables.columns:
        column = tables.columns[wanted.column]
        if column.several:
            raise StageError(
                f"prepare.labels: column {wanted.column!r} of {shortened(column.files)} has several values for one "
                f"picture (first: {column.several}); keep one row for each picture"
            )
        return column_labels(wanted.column, column.values, shortened(column.files), (), are_wanted=True)
    place = f"file: {wanted.file}" if wanted.file else "the archives"
    problem = "; ".join(f"{name} {reason}" for name, reason in tables.useless.items()) or "no such table"
    if tables.columns:
        problem = f"no column {wanted.column!r}, but {shortened(list(tables.columns))}"
    raise StageError(f"prepare.labels: {place}: {problem}; tables in them: {shortened(tables.tables) or 'none'}")


def _table_labels(folders: Folders, tables: LabelFiles, are_classes: bool) -> Labels | None:
    """The labels of the tables, if one column clearly holds them.

    Beside folders of classes, it must have a usual name and a label for each picture.
    """
    name = choose_column(tables.usable, lambda name: tables.columns[name].values)
    if name is None or (are_classes and name.lower() not in LABEL_COLUMNS):
        return None
    column = tables.columns[name]
    ignored = [f"column {other!r}" for other in tables.columns if other != name]
    ignored += [*tables.useless, *([f"{len(folders.classes):,} folders"] if folders.classes else [])]
    labels = column_labels(name, column.values, shortened(column.files), ignored)
    if are_classes and (labels.label == NO_LABEL).any():
        return None
    if folders.classes:
        labels = dataclasses.replace(labels, remedy="add them, or set prepare.labels: folders or none")
    return labels


def _auto_labels(folders: Folders, tables: LabelFiles) -> Labels | None:
    """The labels of a table, else of the folders. Prints why there are none, and the key that decides."""
    tables.read()
    reason = _reason(folders, tables)
    if labels := _table_labels(folders, tables, bool(folders.classes) and not reason):
        return labels
    useless = [f"{name} {problem}" for name, problem in tables.useless.items()]
    if folders.classes and not reason:
        return _folder_labels(folders, [*useless, *(f"column {name!r}" for name in tables.columns)], are_wanted=False)
    if tables.usable:
        useless.append(f"prepare.labels: {{column: …}} can name {shortened(tables.usable)}")
    if several := [name for name in tables.columns if name not in tables.usable]:
        useless.append(f"some pictures have several values of {shortened(several)}")
    if folders.classes:
        reason = f"folders {shortened(folders.classes)} {reason}; prepare.labels: folders makes them classes"
    if problems := [*([reason] if reason else []), *useless]:
        shell.say(f"no labels: {shortened(problems, '; ')}")
    return None


def _reason(folders: Folders, tables: LabelFiles) -> str:
    """Why folders are no classes: they are parts, or a table that usually holds labels is beside them; else empty."""
    if not folders.classes:
        return ""
    if folders.are_shards:
        return "look like numbered parts of a data set"
    for table in tables.tables:
        *place, name = table.split("/")
        if name.lower() in INSTEAD_OF_FOLDERS and len(place) <= folders.depth:
            return f"are beside {table}"
    return ""


def _folder_labels(folders: Folders, ignored: Sequence[str], are_wanted: bool) -> Labels:
    """The folders as classes. Raises StageError if they `are_wanted` and there are fewer than two."""
    if are_wanted and not folders.classes:
        raise StageError("prepare.labels: folders: the pictures are not in two or more folders of classes")
    origin = f"{len(folders.classes):,} folders" + (f"; ignored: {shortened(ignored, '; ')}" if ignored else "")
    remedy = "move them into a class folder, or set prepare.labels: none if this is intended"
    return Labels(
        folders.classes, folders.label, origin, "folders", "are outside every class folder", remedy, are_wanted
    )
