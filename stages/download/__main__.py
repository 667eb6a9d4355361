"""Download the data set and verify it.

    python -m stages.download

Reads the `dataset` section of the params. Writes data/raw/: the archives, unchanged (a folder of pictures becomes a
zip), and source.json with the data set's title, licence, source and hashes. Fashion-MNIST takes 55 MB on disk and a few
seconds on a fast line. Prints:

    looking for the Debian package dataset-fashion-mnist ...
    Fashion-MNIST from Debian package dataset-fashion-mnist, 54,950,048 bytes, licence: MIT; every file has the ...
    download: done in 3.1 s
"""

from collections.abc import Mapping

from stages import shell
from stages.download.settings import Settings
from stages.workspace import Workspace


def download(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Run the stage. The import is here so that --help and errors in the params do not wait for it."""
    from stages.download import stage

    return stage.download(settings, workspace)


if __name__ == "__main__":
    shell.run_stage("download", "dataset", Settings, download, __doc__)
