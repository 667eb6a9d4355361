"""Oxford Flowers-102: labels and splits in MATLAB files."""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import StageError
from tests.archive_files import Files, classes_of, contents, make_tar, open_data_set, overwrite, splits_of


def matlab(**arrays: Any) -> bytes:
    from scipy.io import savemat

    out = io.BytesIO()
    savemat(out, {name: np.array([values]) for name, values in arrays.items()}, do_compression=True)
    return out.getvalue()


def flowers(labels: Sequence[int] = (3, 1, 1, 2), **sets: Sequence[int]) -> Files:
    images = [(f"jpg/image_0000{i}.jpg", b"%d" % i) for i in (2, 1, 4, 3)]
    return {
        "102flowers.tgz": gzip.compress(make_tar(images)),
        "imagelabels.mat": matlab(labels=labels),
        "setid.mat": matlab(**({"trnid": [4, 1], "valid": [3], "tstid": [2]} | sets)),
    }


def test_the_number_of_a_flower_decides_its_label_and_split(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "flowers", flowers())
    keys = [f"jpg/image_0000{i}.jpg" for i in (2, 1, 4, 3)]
    assert contents(source) == {key: key[-5:-4].encode() for key in keys}
    assert classes_of(source) == dict(zip(keys, ["1", "3", "2", "1"], strict=True))
    assert splits_of(source) == dict(zip(keys, ["test", "train", "train", "val"], strict=True))


FLOWER_DAMAGE: dict[str, Files] = {
    "too few labels": flowers([1, 2, 3]),
    "a picture in no split": flowers(tstid=[1]),
    "a split of pictures that do not exist": flowers(tstid=[2, 5]),
    "no labels": {**flowers(), "imagelabels.mat": matlab(others=[1, 2, 3, 4])},
    "an empty file": {**flowers(), "imagelabels.mat": b""},
    "another file": {**flowers(), "setid.mat": b"hello" * 100},
    "a damaged file": {**flowers(), "setid.mat": overwrite(flowers()["setid.mat"], 150, b"XXXXXX")},
    "a name without a number": {**flowers(), "102flowers.tgz": gzip.compress(make_tar([("jpg/image.jpg", b"1")]))},
    "number zero": {**flowers(), "102flowers.tgz": gzip.compress(make_tar([("jpg/image_00000.jpg", b"1")]))},
}


@pytest.mark.parametrize("name", FLOWER_DAMAGE)
def test_labels_that_do_not_fit_the_images_are_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(StageError, match="the labels do not fit the images"):
        open_data_set(tmp_path, "flowers", FLOWER_DAMAGE[name])
