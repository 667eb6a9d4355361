"""The files of the metrics: split for DVC's tables, and read as one, also as earlier versions wrote them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stages.metrics import files
from stages.metrics.catalog import METRICS

ALL = {"swd_floor": 7.0, "fid": 8.0, "judge_rejected": 1, "fid_floor": 0.5}
PROTOCOL = {"samples": 100}


def content(**parts: Any) -> Callable[[str], str | None]:
    """A function that reads the files whose names contain the given words."""
    return lambda name: next((json.dumps(part) for word, part in parts.items() if f"/{word}.json" in name), None)


def test_only_headlines_and_a_rejected_judge_are_in_the_file_that_dvc_lists() -> None:
    headlines, details = files.split(ALL)
    assert list(headlines) == ["judge_rejected", "fid"]
    assert list(details) == ["fid_floor", "swd_floor"]
    assert len(files.split(dict.fromkeys(METRICS, 0.0))[0]) <= 10


def test_the_files_are_read_as_one_in_the_order_of_the_catalog() -> None:
    headlines, details = files.split(ALL)
    metrics = files.read(content(metrics=headlines, details=details, protocol=PROTOCOL))
    assert metrics is not None
    assert list(metrics.items()) == [
        *(("judge_rejected", 1), ("fid", 8.0), ("fid_floor", 0.5), ("swd_floor", 7.0)),
        ("protocol", PROTOCOL),
    ]


def test_the_one_file_of_earlier_versions_is_read_too() -> None:
    assert files.read(content(metrics=ALL | {"protocol": PROTOCOL})) == ALL | {"protocol": PROTOCOL}


def test_without_the_headlines_there_are_no_metrics() -> None:
    assert files.read(content(details={"fid_floor": 0.5})) is None


@pytest.mark.parametrize("damaged", files.FILES)
@pytest.mark.parametrize("text", ['{"fid": ', "[1]"])
def test_a_damaged_file_is_named(damaged: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{damaged} is damaged"):
        files.read(lambda name: text if name == damaged else "{}")
