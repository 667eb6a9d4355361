"""CelebA: its partition and its attributes."""

from pathlib import Path

import pytest

from stages.errors import StageError
from stages.prepare.settings import Settings
from tests.archive_files import Files, classes_of, contents, make_zip, open_data_set, splits_of

ATTRIBUTES = """4
Bald Male Smiling
000001.jpg -1  1  1
000002.jpg -1 -1 -1
000003.jpg  1  1 -1
000004.jpg -1 -1  1
"""
PARTITION = "000001.jpg 0\n000002.jpg 2\n000003.jpg 1\n000004.jpg 0\n"
FACES = make_zip([("img_align_celeba/", b""), *((f"img_align_celeba/00000{i}.jpg", b"%d" % i) for i in range(1, 5))])
CELEBA: Files = {
    "img_align_celeba.zip": FACES,
    "list_attr_celeba.txt": ATTRIBUTES.encode(),
    "list_eval_partition.txt": PARTITION.encode(),
}


def by_number(values: dict[str, str]) -> str:
    """The values of img_align_celeba/00000N.jpg, in order."""
    assert list(values) == [f"img_align_celeba/00000{i}.jpg" for i in range(1, 5)]
    return "; ".join(values.values())


def test_celeba_has_the_official_partition_and_no_labels_by_default(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "celeba", CELEBA)
    assert by_number(splits_of(source)) == "train; test; val; train"
    assert source.classes == ()
    assert (source.index.label == -1).all()
    assert list(contents(source).values()) == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("Male",), "Male; not Male; Male; not Male"),
        (("Smiling",), "Smiling; not Smiling; not Smiling; Smiling"),
        (("Male", "Smiling"), "Male, Smiling; not Male, not Smiling; Male, not Smiling; not Male, Smiling"),
    ],
)
def test_attributes_of_celeba_become_classes(tmp_path: Path, labels: tuple[str, ...], expected: str) -> None:
    source = open_data_set(tmp_path, "celeba", CELEBA, Settings(labels=labels))
    assert by_number(classes_of(source)) == expected
    assert len(source.classes) == 2 ** len(labels)


def as_csv(text: str, header: str) -> bytes:
    """A list as Kaggle has it: with commas, and with a header instead of the number of pictures."""
    rows = [row for row in text.splitlines() if row.startswith("0")]
    return "\r\n".join(",".join(line.split()) for line in (header, *rows)).encode()


def test_lists_can_be_csv_files_and_pictures_in_two_folders(tmp_path: Path) -> None:
    files = {
        "img_align_celeba.zip": make_zip((f"a/img_align_celeba/00000{i}.jpg", b"%d" % i) for i in range(1, 5)),
        "list_attr_celeba.txt": as_csv(ATTRIBUTES, "image_id Bald Male Smiling"),
        "list_eval_partition.txt": as_csv(PARTITION, "image_id partition"),
    }
    source = open_data_set(tmp_path, "celeba", files, Settings(labels=("Male",)))
    assert list(splits_of(source).values()) == ["train", "test", "val", "train"]
    assert list(classes_of(source).values()) == ["Male", "not Male", "Male", "not Male"]
    with pytest.raises(StageError, match="no attribute 'Happy'; it has Bald, Male, Smiling"):
        open_data_set(tmp_path, "celeba", files, Settings(labels=("Happy",)))


CELEBA_DAMAGE: dict[str, tuple[str, str, str]] = {
    "a picture with an attribute too few": (
        "list_attr_celeba.txt",
        ATTRIBUTES.replace("-1 -1 -1", "-1 -1"),
        "list_attr_celeba.txt: expected 3 values for 000002.jpg, got 2",
    ),
    "a picture without attributes": (
        "list_attr_celeba.txt",
        ATTRIBUTES.replace("000003.jpg", "000009.jpg"),
        "no attributes of 000003.jpg",
    ),
    "no attributes": ("list_attr_celeba.txt", "", "CelebA has no attribute 'Male'"),
    "a picture without a partition": (
        "list_eval_partition.txt",
        PARTITION.replace("000003.jpg 1\n", ""),
        r"img_align_celeba\.zip: 000003\.jpg is not in list_eval_partition\.txt",
    ),
    "an unknown partition": (
        "list_eval_partition.txt",
        PARTITION.replace("jpg 1", "jpg 3"),
        "list_eval_partition.txt: expected a name and 0, 1 or 2, got '000003.jpg 3'",
    ),
    "a partition without a number": (
        "list_eval_partition.txt",
        PARTITION.replace("jpg 1", "jpg"),
        "list_eval_partition.txt: expected a name and 0, 1 or 2, got '000003.jpg'",
    ),
    "not a text file": ("list_eval_partition.txt", "\udcff\udcfe", "list_eval_partition.txt: cannot be read"),
}


@pytest.mark.parametrize("name", CELEBA_DAMAGE)
def test_a_damaged_list_of_celeba_is_named(tmp_path: Path, name: str) -> None:
    file, text, complaint = CELEBA_DAMAGE[name]
    files = {**CELEBA, file: text.encode("utf-8", "surrogateescape")}
    with pytest.raises(StageError, match=complaint):
        open_data_set(tmp_path, "celeba", files, Settings(labels=("Male",)))


def test_an_unknown_attribute_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no attribute 'Happy'; it has Bald, Male, Smiling"):
        open_data_set(tmp_path, "celeba", CELEBA, Settings(labels=("Male", "Happy")))
