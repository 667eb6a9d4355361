"""Write the report, one self-contained page, and the model card.

    python -m stages.report

Reads the manifest, tables and pictures of the other stages, the presets, and the `report` section of the params. Loads
no network. Writes reports/report.html and reports/model_card.md. Takes a few seconds. Prints:

    open reports/report.html
    report: done in 1.3 s
"""

from collections.abc import Mapping

from stages import shell
from stages.report.settings import Settings
from stages.workspace import Workspace


def report(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for it."""
    from stages.report import stage

    return stage.report(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("report", "report", Settings, report, __doc__)
