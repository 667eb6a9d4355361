"""The report stage: write the page and the model card."""

from collections.abc import Mapping

from stages import shell
from stages.report.contents import gather
from stages.report.render import render
from stages.report.settings import Settings
from stages.workspace import Workspace


def report(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Render the other stages' outputs as reports/report.html and reports/model_card.md."""
    page, card = render(gather(workspace), settings)
    with workspace.outputs("reports/report.html", "reports/model_card.md") as new:
        new("reports/report.html").write_text(page, encoding="utf-8")
        new("reports/model_card.md").write_text(card, encoding="utf-8")
    shell.say(f"open {workspace.out / 'reports/report.html'}")
    return {}
