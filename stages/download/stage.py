"""The download stage: the data set's files, verified, and source.json beside them."""

from collections.abc import Mapping
from pathlib import Path

from stages import artifacts, shell
from stages.download import catalog, named, own
from stages.download.catalog import DataSet
from stages.download.facts import SourceFacts, file_facts
from stages.download.settings import OWN, Settings
from stages.transfer import without_credentials
from stages.workspace import Workspace


def _download_named(name: str, dataset: DataSet, folder: Path) -> tuple[SourceFacts, str, bool]:
    """Download a data set of the catalog into `folder`.

    Returns its facts, the place that the files came from, and whether every file has the expected hash. The facts do
    not include the place: it differs from machine to machine, and the bytes do not.
    """
    origin, pinned = named.fetch(name, dataset, folder)
    facts = SourceFacts(
        name=name,
        title=dataset.title,
        homepage=dataset.homepage,
        licence=dataset.licence,
        citation=dataset.citation,
        format=dataset.format,
        classes=list(dataset.classes),
        files=file_facts([folder / file.name for file in dataset.files]),
    )
    return facts, origin, pinned


def _summary(facts: SourceFacts, origin: str, pinned: bool) -> str:
    """The stage's last line: title, origin, size, licence, and how the files were verified."""
    size = sum(file.bytes for file in facts.files)
    check = "every file has the expected hash" if pinned else "dvc.lock records the hashes"
    return f"{facts.title} from {origin}, {size:,} bytes, licence: {facts.licence}; {check}"


def download(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Write the data set that the settings name to data/raw."""
    dataset = catalog.load().get(settings.source)
    with workspace.outputs("data/raw") as new:
        folder = new("data/raw")
        folder.mkdir()
        if dataset is None:
            facts = own.fetch(settings, folder)
            origin = settings.own if settings.source == OWN else without_credentials(settings.source)
            pinned = bool(settings.sha256)
        else:
            facts, origin, pinned = _download_named(settings.source, dataset, folder)
        artifacts.write_json(folder / "source.json", facts.as_dict())
    shell.say(_summary(facts, origin, pinned))
    return {}
