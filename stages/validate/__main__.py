"""Hold the prepared data against its schema.

    python -m stages.validate

Reads data/prepared/manifest.json and the `validate` section, which is the schema. Writes reports/validation.json (what
the data is, in a few numbers); fails with every difference where it is not what the schema says. An instant.
"""

from collections.abc import Mapping

from stages import shell
from stages.validate.settings import Settings
from stages.workspace import Workspace


def validate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.validate import stage

    return stage.validate(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("validate", "validate", Settings, validate, __doc__)
