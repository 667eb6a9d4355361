"""The download stage: the data set's files, verified."""

from collections.abc import Mapping

from stages import artifacts, shell
from stages.download import catalog, named, own
from stages.download.settings import Settings
from stages.transfer import without_credentials
from stages.workspace import Workspace


def download(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Fetch the data set that the settings name into data/raw."""

    dataset = catalog.load().get(settings.source)
    with workspace.outputs("data/raw") as new:
        folder = new("data/raw")
        folder.mkdir()
        if dataset is None:
            facts = own.fetch_own(settings, folder)
            origin = settings.own if settings.source == own.OWN else without_credentials(settings.source)
        else:
            origin = named.fetch(settings.source, dataset, folder)
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
