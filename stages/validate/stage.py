"""The validate stage: compare the prepared data with its schema."""

import dataclasses
from collections.abc import Iterator, Mapping

from stages import artifacts, manifest, shell
from stages.errors import StageError
from stages.manifest import Manifest
from stages.validate.settings import Settings
from stages.workspace import Workspace


def validate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Compare data/prepared with the schema, and write its figures to reports/validation.json."""
    path = workspace.input("data/prepared/manifest.json")
    data = manifest.read(path.parent)
    problems = [f"\n  - {difference}" for difference in differences(data, settings)]
    if problems:
        raise StageError(
            f"{path}: the data does not match its schema (the `validate` section of the params):{''.join(problems)}"
            "\nFix the data or the `prepare` section, or change the schema."
        )
    with workspace.outputs("reports/validation.json") as new:
        artifacts.write_json(new("reports/validation.json"), _figures(data))
    checked = ", ".join(name for name, expected in dataclasses.asdict(settings).items() if expected not in (None, {}))
    shell.say(f"the data matches its schema: {checked}" if checked else "nothing was checked: `validate` has no keys")
    return {}


def differences(data: Manifest, schema: Settings) -> Iterator[str]:
    """Each difference between data and schema, with the expected and the actual value."""
    for name, expected, actual in (("shape", schema.shape, data.shape), ("classes", schema.classes, data.classes)):
        if expected is not None and expected != actual:
            yield f"{name}: expected {_listed(expected)}, got {_listed(actual)}"
    for split, (minimum, maximum) in (schema.images or {}).items():
        if split not in data.splits:
            yield f"images.{split}: no such split; the data has {', '.join(data.splits)}"
        elif not minimum <= data.splits[split].records <= maximum:
            yield f"images.{split}: expected {minimum:,} to {maximum:,}, got {data.splits[split].records:,}"
    if schema.mean is not None:
        min_mean, max_mean = schema.mean
        for channel, mean in enumerate(data.mean):
            if not min_mean <= mean <= max_mean:
                yield f"mean: expected {min_mean:g} to {max_mean:g}, got {mean:g} in channel {channel}"
    if schema.max_duplicates is not None and data.counts["duplicates"] > schema.max_duplicates:
        yield f"max_duplicates: expected at most {schema.max_duplicates:,}, got {data.counts['duplicates']:,}"


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values)) or "none"


def _figures(data: Manifest) -> dict[str, object]:
    return {
        **{f"{name}_images": split.records for name, split in data.splits.items()},
        **{name: data.counts[name] for name in ("rejected", "duplicates", "straddling")},
        "mean": dict(enumerate(data.mean)),
        "std": dict(enumerate(data.std)),
    }
