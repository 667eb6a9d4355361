"""LSUN: an LMDB in a zip for each split."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from stages.errors import StageError
from stages.prepare import plan, shards
from stages.prepare.archives import packed
from stages.prepare.settings import Settings
from tests.archive_files import TAR, ZIP, decoded, end_of_zip, make_zip, open_data_set, splits_of, zip_entry, zip_member


def png(value: int) -> bytes:
    """A PNG of one gray value."""
    out = io.BytesIO()
    Image.new("L", (16, 16), value).save(out, "PNG")
    return out.getvalue()


def lsun(tmp_path: Path, name: str, pairs: dict[bytes, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of an LMDB, as on LSUN's server."""
    import lmdb

    with lmdb.open(str(tmp_path / name), map_size=1 << 22) as environment, environment.begin(write=True) as database:
        for key, value in pairs.items():
            database.put(key, value)
    files = [(f"{name}/{file}", (tmp_path / name / file).read_bytes()) for file in ("data.mdb", "lock.mdb")]
    return make_zip([(f"{name}/", b""), *files], how)


def test_lsun_has_pictures_by_key_and_a_single_held_out_part_is_the_test_split(tmp_path: Path) -> None:
    files = {
        "bedroom_train_lmdb.zip": lsun(tmp_path, "bedroom_train_lmdb", {b"0a1": png(10), b"0b2": png(20)}),
        "bedroom_val_lmdb.zip": lsun(tmp_path, "bedroom_val_lmdb", {b"0c3": png(30)}, zipfile.ZIP_STORED),
    }
    source = open_data_set(tmp_path, "lmdb", files)
    assert splits_of(source) == {"0a1": "train", "0b2": "train", "0c3": "test"}
    images = decoded(source, Settings())
    assert {key: int(image[0, 0, 0]) for key, image in images.items()} == {"0a1": 10, "0b2": 20, "0c3": 30}


def test_a_part_of_lsun_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    files = {"bedroom_train_lmdb.zip": lsun(tmp_path, "x", {b"0a1": png(10)})}
    part = next(plan.parts(open_data_set(tmp_path, "lmdb", files), Settings()))
    received = pickle.loads(pickle.dumps(part))  # noqa: S301
    assert shards.read_picture(received, 0, Settings())[0, 0, 0] == 10


def test_lsun_with_one_part_has_no_official_split(tmp_path: Path) -> None:
    source = open_data_set(tmp_path, "lmdb", {"bedroom_train_lmdb.zip": lsun(tmp_path, "x", {b"0a1": png(10)})})
    assert source.splits == ()
    assert source.index.split.tolist() == [-1]


DATABASE = zip_member("data.mdb", b"hello")
ENCRYPTED = DATABASE + end_of_zip(zip_entry("data.mdb", b"hello", flags=1), 1, len(DATABASE))
LSUN_DAMAGE: dict[str, tuple[bytes, str]] = {
    "no database": (make_zip([("a/lock.mdb", b"")]), r"expected one data\.mdb in it, found 0"),
    "two databases": (make_zip([("a/data.mdb", b""), ("b/data.mdb", b"")]), r"expected one data\.mdb in it, found 2"),
    "another file": (make_zip([("a/data.mdb", b"hello" * 5000)]), "no LMDB in it"),
    "an empty file": (make_zip([("a/data.mdb", b"")]), "no LMDB in it"),
    "a bad checksum": (make_zip([("a/data.mdb", b"hello")]).replace(b"hello", b"hallo"), "truncated or damaged"),
    "encrypted": (ENCRYPTED, "truncated or damaged"),
    "truncated": (ZIP[:-30], "truncated or damaged"),
    "not a zip": (TAR, "truncated or damaged"),
}


@pytest.mark.parametrize("name", LSUN_DAMAGE)
def test_a_zip_without_a_database_is_named(tmp_path: Path, name: str) -> None:
    data, complaint = LSUN_DAMAGE[name]
    with pytest.raises(StageError, match=rf"bedroom_train_lmdb\.zip: ({complaint})"):
        open_data_set(tmp_path, "lmdb", {"bedroom_train_lmdb.zip": data})
    assert not list((tmp_path / "scratch").glob("*.part"))


def test_a_database_that_unpacks_to_too_much_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_EXPANSION_ALLOWANCE", 1000)
    monkeypatch.setattr(packed, "_MAX_EXPANSION", 2)
    data = make_zip([("a/data.mdb", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
    with pytest.raises(StageError, match=r"x_train_x\.zip: unpacks to more than"):
        open_data_set(tmp_path, "lmdb", {"x_train_x.zip": data})
    assert not list((tmp_path / "scratch").iterdir())
