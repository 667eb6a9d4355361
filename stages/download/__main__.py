"""Bring the data set in, whole and verified.

    python -m stages.download

Reads the `dataset` section. Writes data/raw/: archives as they came (a folder becomes one), and source.json, which says
what they are, whose they are and what they hash to. Fashion-MNIST: 55 MB on disk, seconds on a fast line.
"""

from collections.abc import Mapping

from stages import artifacts, shell
from stages.artifacts import Workspace
from stages.download import catalog
from stages.download.settings import Settings


def download(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Fetch the data set that the settings name into data/raw."""
    from stages.download import fetch, own
    from stages.fetch import shown

    dataset = catalog.load().get(settings.source)
    with workspace.outputs("data/raw") as new:
        folder = new("data/raw")
        folder.mkdir()
        if dataset is None:
            facts = own.fetch_own(settings, folder)
            origin = settings.own if settings.source == own.OWN else shown(settings.source)
        else:
            origin = fetch.fetch(settings.source, dataset, folder)
            # Not where it came from, which differs from machine to machine while the bytes do not.
            about = {key: getattr(dataset, key) for key in ("title", "homepage", "licence", "citation", "format")}
            paths = [folder / file.name for file in dataset.files]
            files = [{"name": p.name, "bytes": p.stat().st_size, "sha256": artifacts.sha256(p)} for p in paths]
            facts = {"name": settings.source, **about, "classes": dataset.classes, "files": files}
        artifacts.write_json(folder / "source.json", facts)
    size = sum(file["bytes"] for file in facts["files"])
    pinned = all(file.pinned for file in dataset.files) if dataset is not None else bool(settings.sha256)
    checked = "every file has its known hash" if pinned else "dvc.lock holds its hash from now on"
    shell.say(f"{facts['title']} from {origin}, {size:,} bytes, licence: {facts['licence']}; {checked}")
    return {}


if __name__ == "__main__":
    shell.run_stage("download", "dataset", Settings, download, __doc__)
