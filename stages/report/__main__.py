"""Write the report, one self-contained page, and the model's card.

    python -m stages.report

Reads the manifests, tables and pictures that the other stages wrote (no model), the presets, and the `report` section.
Writes reports/report.html and reports/model_card.md. Three seconds.
"""

from collections.abc import Mapping

from stages import shell
from stages.artifacts import Workspace
from stages.report.settings import Settings


def report(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn what the stages wrote into the page and the card."""
    from stages.report import page

    content = page.gather(workspace)
    report, card = page.render(content, settings)
    with workspace.outputs("reports/report.html", "reports/model_card.md") as new:
        new("reports/report.html").write_text(report, encoding="utf-8")
        new("reports/model_card.md").write_text(card, encoding="utf-8")
    shell.say(f"open {workspace.out / 'reports/report.html'}")
    return {}


if __name__ == "__main__":
    shell.run_stage("report", "report", Settings, report, __doc__)
