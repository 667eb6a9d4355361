"""The validate stage: compare the prepared data with its schema."""

from collections.abc import Iterator, Mapping

from stages import artifacts, manifest, shell
from stages.errors import StageError
from stages.manifest import Manifest
from stages.validate.settings import Settings
from stages.workspace import Workspace


def differences(data: Manifest, schema: Settings) -> Iterator[str]:
    """Each point in which the data is not what the schema says, with both."""
    for name, expected, found in (("shape", schema.shape, data.shape), ("classes", schema.classes, data.classes)):
        if expected is not None and expected != found:
            yield f"{name}: expected {_shown(expected)}, found {_shown(found)}"
    for split, (least, most) in (schema.images or {}).items():
        if split not in data.splits:
            yield f"images.{split}: no such split; there are {', '.join(data.splits)}"
        elif not least <= data.splits[split].records <= most:
            yield f"images.{split}: expected {least:,} to {most:,}, found {data.splits[split].records:,}"
    if schema.mean is not None:
        least_mean, most_mean = schema.mean
        for channel, mean in enumerate(data.mean):
            if not least_mean <= mean <= most_mean:
                yield f"mean: expected {least_mean:g} to {most_mean:g}, found {mean:g} in channel {channel}"
    if schema.max_duplicates is not None and data.counts["duplicates"] > schema.max_duplicates:
        yield f"max_duplicates: expected at most {schema.max_duplicates:,}, found {data.counts['duplicates']:,}"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def validate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Check data/prepared, and note its figures in reports/validation.json."""
    path = workspace.input("data/prepared/manifest.json")
    data = manifest.read(path.parent)
    found = list(differences(data, settings))
    if found:
        raise StageError(
            f"{path}: the data is not what the schema says (the section `validate` of the params):\n"
            + "\n".join(f"  - {line}" for line in found)
            + "\nMend the data or the `prepare` section, or change the schema."
        )
    with workspace.outputs("reports/validation.json") as new:
        figures = {f"{name}_images": split.records for name, split in data.splits.items()}
        artifacts.write_json(
            new("reports/validation.json"),
            {
                **figures,
                "rejected": data.counts["rejected"],
                "duplicates": data.counts["duplicates"],
                "straddling": data.counts["straddling"],
                "mean": dict(enumerate(data.mean)),
                "std": dict(enumerate(data.std)),
            },
        )
    shell.say("the data is what its schema says")
    return {}
