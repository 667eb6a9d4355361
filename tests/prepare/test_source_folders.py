"""Splits and classes by the names of folders."""

import pytest

from stages.prepare.sources.folders import read_folders

# Names => the split and the class of each, or none.
FOLDERS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "flat": (["a.png", "b.png"], [], []),
    "classes": (["cat/1.png", "dog/2.png", "cat/3.png"], [], ["cat", "dog", "cat"]),
    "classes below a common folder": (["all/x/cat/1.png", "all/x/dog/2.png"], [], ["cat", "dog"]),
    "folders below classes": (["cat/a/1.png", "cat/b/2.png", "dog/3.png"], [], ["cat", "cat", "dog"]),
    "one folder": (["only/1.png", "only/2.png"], [], []),
    "some without a folder": (["1.png", "cat/2.png", "dog/3.png"], [], []),
    "some without a folder, below a common folder": (["set/1.png", "set/cat/2.png"], [], []),
    "splits": (["train/1.png", "test/2.png", "train/3.png"], ["train", "test", "train"], []),
    "a single held-out split is the test split": (["train/1.png", "val/2.png"], ["train", "test"], []),
    "three splits": (["test/1.png", "train/2.png", "val/3.png"], ["test", "train", "val"], []),
    "splits with other names": (["Training/1.png", "VALID/2.png", "testing/3.png"], ["train", "val", "test"], []),
    "splits, then classes": (["d/train/cat/1.png", "d/test/dog/2.png"], ["train", "test"], ["cat", "dog"]),
    "splits, only one with classes": (["train/cat/1.png", "test/2.png"], ["train", "test"], []),
    "only one split": (["train/1.png", "train/2.png"], [], []),
    "no training split": (["val/1.png", "test/2.png"], [], ["val", "test"]),
    "a class named train": (["train/1.png", "cat/2.png"], [], ["train", "cat"]),
    "splits, and a picture outside them": (["test/1.png", "train/2.png", "2.png"], [], []),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_name_splits_and_classes(name: str) -> None:
    names, splits, classes = FOLDERS[name]
    folders = read_folders(names)
    assert folders.splits == tuple(word for word in ("train", "val", "test") if word in splits)
    assert folders.split.tolist() == ([folders.splits.index(word) for word in splits] or [-1] * len(names))
    assert folders.classes == tuple(sorted(set(classes)))
    assert folders.label.tolist() == ([folders.classes.index(word) for word in classes] or [-1] * len(names))


@pytest.mark.parametrize(
    ("names", "loose"),
    [
        (["cat/1.png", "dog/2.png", "3.png", "owl/4.png", "5.png"], ["3.png", "5.png"]),
        (["set/cat/1.png", "set/dog/2.png", "set/3.png"], ["set/3.png"]),
        (["train/cat/1.png", "train/2.png", "test/dog/3.png"], ["train/2.png"]),
        (["train/1.png", "test/2.png", "3.png"], ["3.png"]),
        (["cat/1.png", "dog/2.png", "dog/more/3.png"], []),
        (["cat/1.png", "2.png"], []),  # a single class is no class
        (["1.png", "2.png"], []),
        (["train/1.png", "test/2.png"], []),
        ([], []),
    ],
)
def test_pictures_outside_every_class_folder_are_loose(names: list[str], loose: list[str]) -> None:
    assert [names[i] for i in read_folders(names).loose] == loose
