"""Write the report: one self-contained page.

    python -m stages.report

Reads the manifests, tables and pictures that the other stages wrote (no model) and the `report` section. Writes
reports/report.html. Two seconds.
"""

from collections.abc import Mapping

from stages import shell
from stages.artifacts import Workspace
from stages.report.settings import Settings


def report(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn what the stages wrote into reports/report.html."""
    from stages.report import page

    content = page.gather(workspace)
    with workspace.outputs("reports/report.html") as new:
        new("reports/report.html").write_text(page.render(content, settings), encoding="utf-8")
    shell.say(f"open {workspace.out / 'reports/report.html'}")
    return {}


if __name__ == "__main__":
    shell.run_stage("report", "report", Settings, report, __doc__)
