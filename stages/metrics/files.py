"""The files with the numbers of the evaluate stage, and how to read them as one.

DVC lists only the headline metrics. The other metrics and the protocol of the measurement are in files of their own.
Earlier versions of the code wrote all of them into reports/metrics.json.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from stages.metrics.catalog import METRICS

HEADLINES = "reports/metrics.json"
DETAILS = "reports/evaluate/details.json"
PROTOCOL = "reports/evaluate/protocol.json"
FILES = (HEADLINES, DETAILS, PROTOCOL)

# A judge that failed its check is no headline of a table, but must be the first thing that the results say.
_SHOWN = {"judge_rejected", *(metric.name for metric in METRICS.values() if metric.headline)}


def split(metrics: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics of reports/metrics.json, and those of details.json, both in the order of the catalog."""
    ordered = in_order(metrics)
    return (
        {name: value for name, value in ordered.items() if name in _SHOWN},
        {name: value for name, value in ordered.items() if name not in _SHOWN},
    )


def joined(
    headlines: Mapping[str, Any], details: Mapping[str, Any], protocol: Mapping[str, Any] | None
) -> dict[str, Any]:
    """All metrics in the order of the catalog, then the protocol under the key `protocol`, if there is one."""
    own = {"protocol": dict(protocol)} if protocol else {}
    return in_order({**headlines, **details}) | own


def read(content: Callable[[str], str | bytes | None]) -> dict[str, Any] | None:
    """All metrics with their protocol. None if reports/metrics.json is missing.

    `content` returns the content of a file, None if it is missing. Raises ValueError, naming the file, if a file does
    not hold a JSON object.
    """
    parts = {name: _object(name, content(name)) for name in FILES}
    headlines = parts[HEADLINES]
    return None if headlines is None else joined(headlines, parts[DETAILS] or {}, parts[PROTOCOL])


def in_order(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The same metrics in the order of the catalog, then those that it does not have."""
    places = {name: place for place, name in enumerate(METRICS)}
    return dict(sorted(metrics.items(), key=lambda item: places.get(item[0], len(places))))


def _object(name: str, content: str | bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{name} is damaged ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} is damaged (expected a JSON object)")
    return value
