"""Measure samples of the generator against the data.

    python -m stages.evaluate

Reads models/generator.keras, data/prepared, the judge (models/features) and Inception (models/inception) with their
reference data, and the `evaluate` section of the params. Writes reports/metrics.json (the headline metrics) and
reports/evaluate/: details.json (the other metrics), protocol.json (the protocol of the measurement), modes.csv (the
share of each class), points.csv (real and generated features as points of a plane), for a conditional generator
confusion.csv and classes.csv (the judge's classes, and a comparison within each class), lowest.png (the samples of
lowest realism) and, for a judge without labels, clusters.png (images typical of each cluster). If no judge passed its
checks, it skips the metrics that need a network's features unless you choose Inception; the tables then hold only their
headers. Takes about a minute.
Prints the metrics:

    evaluate: loading TensorFlow ...
    fid 37.5285  fid_floor 0.163794  fid_bias 0.254232  kid 10.3273  kid_se 0.480319  precision 0.7085  ...
    evaluate: done in 53.1 s
"""

from collections.abc import Mapping

from stages import shell
from stages.evaluate.settings import Settings
from stages.workspace import Workspace


def evaluate(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for TensorFlow."""
    from stages.evaluate import stage

    return stage.evaluate(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("evaluate", "evaluate", Settings, evaluate, __doc__, tensorflow=True)
