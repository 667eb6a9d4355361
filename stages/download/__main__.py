"""Bring the data set in, whole and verified.

    python -m stages.download

Reads the `dataset` section. Writes data/raw/: archives as they came (a folder becomes one), and source.json, which says
what they are, whose they are and what they hash to. Fashion-MNIST: 55 MB on disk, seconds on a fast line.
"""

from collections.abc import Mapping

from stages import shell
from stages.download.settings import Settings
from stages.workspace import Workspace


def download(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. Its code is imported here, so that --help and a mistake in the params need not wait for it."""
    from stages.download import stage

    return stage.download(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("download", "dataset", Settings, download, __doc__)
