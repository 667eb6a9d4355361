"""Download the data set, whole and verified.

    python -m stages.download

Reads the `dataset` section. Writes data/raw/: the data set's own files, decompressed, and source.json, which says what
they are, whose they are and how they are packed. Fashion-MNIST: 55 MB on disk, seconds on a fast line.
"""

import dataclasses
from collections.abc import Mapping

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.download import catalog, fetch
from stages.download.settings import Settings


def download(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Fetch the data set that the settings name into data/raw."""
    dataset = catalog.load()[settings.name]
    with workspace.outputs("data/raw") as new:
        folder = new("data/raw")
        folder.mkdir()
        origin = fetch.fetch(settings.name, dataset, folder)
        # Not where it came from, which differs from machine to machine while the bytes do not.
        facts = {
            key: value
            for key, value in dataclasses.asdict(dataset).items()
            if key in ("title", "homepage", "licence", "citation", "format", "classes", "files")
        }
        artifacts.write_json(folder / "source.json", {"name": settings.name, **facts})
    shell.say(f"{dataset.title} from {origin}, licence {dataset.licence}: every file has its known SHA-256")
    return {}


if __name__ == "__main__":
    shell.run_stage("download", "dataset", Settings, download, __doc__)
