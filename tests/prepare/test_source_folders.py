"""Splits and classes by the names of folders."""

from collections.abc import Sequence

import pytest

from stages.errors import StageError
from stages.prepare.sources.folders import are_shards, file_splits, read_folders, split_of

SPLITS = {
    "train": "train train2017 Train TRAIN_2014 images_train train-set trainset TrainImages imagestrain seg_train "
    "trainA 01_train DIV2K_train_HR training trainval train.tar.gz train-00000-of-00002.parquet a-train-000000.tar",
    "val": "val val2017 VALID validation-images valset dev-test images_dev eval",
    "test": "test test1 testing Test_Set test-images",
    "": "latest contest pretrain strain trains retest valley development 2017 t10k кот extra",
}


@pytest.mark.parametrize(("name", "split"), [(name, split) for split, text in SPLITS.items() for name in text.split()])
def test_a_split_is_known_by_a_word_of_the_name(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["a-train-0.tar", "a-train-1.tar", "a-val-0.tar"], ["train", "train", "val"]),
        (["train.zip", "test1.zip"], ["train", "test"]),
        (["train.zip", "extra.zip"], []),
        (["train-0.tar", "train-1.tar"], []),
        (["val.zip", "test.zip"], []),
    ],
)
def test_files_are_splits_if_all_are_and_one_is_train(names: list[str], splits: list[str]) -> None:
    assert file_splits(names) == splits


# Names => the split and the class of each, or none.
FOLDERS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "flat": (["a.png", "b.png"], [], []),
    "classes": (["cat/1.png", "dog/2.png", "cat/3.png"], [], ["cat", "dog", "cat"]),
    "classes below a common folder": (["all/x/cat/1.png", "all/x/dog/2.png"], [], ["cat", "dog"]),
    "folders below classes": (["cat/a/1.png", "cat/b/2.png", "dog/3.png"], [], ["cat", "cat", "dog"]),
    "one folder": (["only/1.png", "only/2.png"], [], []),
    "some outside the classes": (["1.png", "cat/2.png", "dog/3.png"], [], ["", "cat", "dog"]),
    "some outside the classes, below a common folder": (["s/1.png", "s/a/2.png", "s/b/3.png"], [], ["", "a", "b"]),
    "a single class": (["1.png", "cat/2.png"], [], []),
    "splits": (["train/1.png", "test/2.png", "train/3.png"], ["train", "test", "train"], []),
    "a single held-out split is the test split": (["train/1.png", "val/2.png"], ["train", "test"], []),
    "three splits": (["test/1.png", "train/2.png", "val/3.png"], ["test", "train", "val"], []),
    "COCO": (["train2017/1.jpg", "val2017/2.jpg"], ["train", "test"], []),
    "Kaggle's cats and dogs": (["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"], ["train", "train", "test"], []),
    "YOLO": (["d/images/train/1.png", "d/images/val/2.png"], ["train", "test"], []),
    "Roboflow": (["train/images/1.png", "valid/images/2.png", "test/images/3.png"], ["train", "val", "test"], []),
    "a split twice": (["train/train/a/1", "train/train/b/1", "test/a/3"], ["train", "train", "test"], [*"aba"]),
    "all splits twice": (
        ["seg_train/seg_train/sea/1.jpg", "seg_test/seg_test/sky/2.jpg"],
        ["train", "test"],
        ["sea", "sky"],
    ),
    "splits, then classes": (["d/train/cat/1.png", "d/test/dog/2.png"], ["train", "test"], ["cat", "dog"]),
    "classes, then splits": (["cat/train/1.png", "dog/train/2.png", "dog/val/3.png"], ["train", "train", "test"], [
        "cat",
        "dog",
        "dog",
    ]),
    "splits, only one with classes": (
        ["train/cat/1.png", "train/dog/1.png", "test/2.png"],
        ["train", "train", "test"],
        ["cat", "dog", ""],
    ),
    "only one split": (["train/1.png", "train/2.png"], [], []),
    "two folders of one split": (["train2014/1.png", "train2017/2.png"], [], []),
    "no training split": (["val/1.png", "test/2.png"], [], []),
    "a class named train": (["train/1.png", "cat/2.png"], [], ["train", "cat"]),
    "nothing": ([], [], []),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_name_splits_and_classes(name: str) -> None:
    names, splits, classes = FOLDERS[name]
    folders = read_folders(names)
    assert folders.splits == tuple(word for word in ("train", "val", "test") if word in splits)
    assert folders.split.tolist() == ([folders.splits.index(word) for word in splits] or [-1] * len(names))
    assert folders.classes == tuple(sorted(set(classes) - {""}))
    numbers = {name: number for number, name in enumerate(folders.classes)}
    assert folders.label.tolist() == ([numbers.get(word, -1) for word in classes] or [-1] * len(names))


@pytest.mark.parametrize(
    ("names", "outside"),
    [
        (["train/1.png", "test/2.png", "extra/3.png"], "in extra"),
        (["train2017/1.png", "val2017/2.png", "unlabeled2017/3.png"], "in unlabeled2017"),
        (["d/train/1.png", "d/test/2.png", "d/pred/x/3.png"], "in d/pred/x"),
        (["train/1.png", "test/2.png", "3.png"], "in no folder"),
    ],
)
def test_pictures_outside_the_split_folders_stop_the_stage(names: list[str], outside: str) -> None:
    with pytest.raises(StageError, match=rf"are splits, but .* outside them \({outside}\); move .* prepare.labels"):
        read_folders(names)
    assert read_folders(names, are_classes=True).splits == ()


def test_folders_of_held_out_splits_are_classes_if_the_params_say_so() -> None:
    names = ["test_tubes/1.png", "test_papers/2.png"]
    assert read_folders(names).classes == ()
    assert read_folders(names, are_classes=True).classes == ("test_papers", "test_tubes")


@pytest.mark.parametrize(
    ("folders", "counts", "expected"),
    [
        (["00000", "00001", "00002"], [1000, 1000, 17], True),  # StyleGAN's
        (["00000", "00001"], [1000, 500], True),
        (["00000", "00001", "00002"], [8721, 8802, 100], True),  # img2dataset's, where downloads fail
        (["0", "1"], [50, 50], True),
        ([*"0123456789"], [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], False),  # MNIST
        ([f"{i:05d}" for i in range(4)], [210, 2220, 2250, 1410], False),  # GTSRB's traffic signs
        (["0", "1"], [50, 30], False),
        (["00000", "00001"], [500, 1000], False),
        (["cats", "00001"], [50, 50], False),
        (["²", "³"], [50, 50], False),
        ([], [], False),
        (["images_001", "images_002"], [4999, 10000], True),  # NIH's chest X-rays
        (["part-0", "part-1"], [5, 9], True),
        (["data_batch_1", "data_batch_2"], [9, 9], True),
        (["100CANON", "101CANON"], [9, 3], True),
        (["part-0", "cats"], [9, 9], False),
        (["n01440764", "n01443537"], [1300, 1300], False),  # ImageNet's classes
        (["s1", "s2"], [10, 10], False),  # AT&T's faces
        (["s01", "image"], [10, 10], False),
    ],
)
def test_shards_have_names_of_parts_or_numbers_and_equally_many_pictures(
    folders: Sequence[str], counts: Sequence[int], expected: bool
) -> None:
    assert are_shards(folders, counts) == expected
