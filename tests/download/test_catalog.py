"""The catalog of data sets, and the settings of the download stage."""

import hashlib
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stages import params
from stages.download import catalog
from stages.download.catalog import DataSet, File
from stages.download.settings import Settings
from stages.errors import ParamsError
from stages.prepare.sources.formats import FORMATS


@pytest.mark.parametrize("name", list(catalog.load()))
def test_a_catalog_entry_has_a_title_licence_citation_homepage_and_a_known_format(name: str) -> None:
    entry = catalog.load()[name]
    assert entry.title
    assert entry.licence
    assert entry.citation
    assert entry.homepage.startswith("https://")
    assert entry.format in FORMATS


# No hash of these is published.
UNPINNED = {"bedroom_train_lmdb.zip", "bedroom_val_lmdb.zip"}
FILES = [
    pytest.param(entry, file, id=f"{name}/{file.name}")
    for name, entry in catalog.load().items()
    for file in entry.files
]


@pytest.mark.parametrize(("entry", "file"), FILES)
def test_a_file_of_the_catalog_has_a_hash(entry: DataSet, file: File) -> None:
    if file.name not in UNPINNED:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256) or re.fullmatch(r"[0-9a-f]{32}", file.md5)
        assert re.fullmatch(r"([0-9a-f]{40})?", file.git_blob)


@pytest.mark.parametrize(("entry", "file"), FILES)
def test_a_file_of_the_catalog_has_an_address(entry: DataSet, file: File) -> None:
    addresses = file.addresses or entry.addresses
    assert addresses
    assert all(re.match(r"https?://[^/]+/?", address) for address in addresses)


@pytest.mark.parametrize("source", [*catalog.load(), "own", "https://a.b/c.zip?d=e", "s3://a/b", "hf://datasets/a/b"])
def test_a_known_source_is_accepted(source: str) -> None:
    assert TypeAdapter(Settings).validate_python({"source": source}).source == source


@pytest.mark.parametrize("source", ["fashion", "Own", "data/own", "https:/a.b/c"])
def test_the_error_for_an_unknown_source_lists_the_known_ones(tmp_path: Path, source: str) -> None:
    (tmp_path / "params.yaml").write_text(f"dataset: {{source: '{source}'}}")
    names = ", ".join(catalog.load())
    with pytest.raises(ParamsError) as caught:
        params.load(tmp_path / "params.yaml", "dataset", Settings)
    message = str(caught.value)
    assert f"dataset.source: expected one of {names}, own (" in message
    assert f", got {source!r}; " in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", "0" * 63),
        ("sha256", "0" * 65),
        ("sha256", "A" * 64),
        ("sha256", "0" * 64 + "\\n"),
        ("source", "http://[::1/a.zip"),
        ("source", ""),
        ("own", ""),
    ],
)
def test_an_invalid_setting_is_named_in_the_error(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "params.yaml").write_text(f'dataset: {{{key}: "{value}"}}')
    with pytest.raises(ParamsError, match=f"dataset.{key}: "):
        params.load(tmp_path / "params.yaml", "dataset", Settings)


@pytest.mark.parametrize("value", ["", "0" * 64, hashlib.sha256(b"pictures").hexdigest()])
def test_the_expected_hash_is_optional(value: str) -> None:
    assert TypeAdapter(Settings).validate_python({"sha256": value}).sha256 == value
