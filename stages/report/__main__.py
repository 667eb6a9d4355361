"""Write the report, one self-contained page, and the model's card.

    python -m stages.report

Reads the manifests, tables and pictures that the other stages wrote (no model), the presets, and the `report` section.
Writes reports/report.html and reports/model_card.md. Three seconds.
"""

from collections.abc import Mapping

from stages import shell
from stages.report.settings import Settings
from stages.workspace import Workspace


def report(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.report import stage

    return stage.report(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("report", "report", Settings, report, __doc__)
