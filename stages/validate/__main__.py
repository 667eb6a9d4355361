"""Check the prepared data against its schema.

    python -m stages.validate

Reads data/prepared/manifest.json and the `validate` section of the params, which is the schema. Writes
reports/validation.json, a few figures about the data. Fails and lists every difference if the data does not match.
Takes less than a second. Prints:

    the data matches its schema: shape, classes, images, mean
    validate: done in 0.0 s
"""

from collections.abc import Mapping

from stages import shell
from stages.validate.settings import Settings
from stages.workspace import Workspace


def validate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for it."""
    from stages.validate import stage

    return stage.validate(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("validate", "validate", Settings, validate, __doc__)
