"""Measure the samples against the data.

    python -m stages.evaluate

Reads models/generator.keras, data/prepared, the judge and Inception with their references, and the `evaluate` section.
Writes reports/metrics.json (the metrics, and the protocol they hold under) and reports/evaluate/: modes.csv (the class
histogram), points.csv (real and generated features as points of a plane) and lowest.png (the samples furthest from real
images). Without labels and without Inception the metrics that need a network's features are left out, and the tables
have no more than their headers. About half a minute.
"""

from collections.abc import Mapping

from stages import shell
from stages.evaluate.settings import Settings
from stages.workspace import Workspace


def evaluate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.evaluate import stage

    return stage.evaluate(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("evaluate", "evaluate", Settings, evaluate, __doc__, tensorflow=True)
