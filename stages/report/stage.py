"""The report stage: write the page and the model card."""

from collections.abc import Mapping

from stages import shell
from stages.report import page
from stages.report.settings import Settings
from stages.workspace import Workspace


def report(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Turn what the stages wrote into the page and the card."""

    content = page.gather(workspace)
    report, card = page.render(content, settings)
    with workspace.outputs("reports/report.html", "reports/model_card.md") as new:
        new("reports/report.html").write_text(report, encoding="utf-8")
        new("reports/model_card.md").write_text(card, encoding="utf-8")
    shell.say(f"open {workspace.out / 'reports/report.html'}")
    return {}
