"""An archive of pictures from a web server."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from stages import containers, transfer
from stages.download.packing import Fetched
from stages.transfer import SourceError


def fetch(url: str, folder: Path, parts: Path) -> Fetched:
    """Download an archive to `parts`, and move it into `folder` when complete. Returns its name. Raises SourceError."""
    name = Path(urlsplit(url).path).name
    name = "pictures" if name in ("", "..", "source.json") else name
    part = parts / f"{name}.part"
    transfer.download(url, part, pinned=False)
    try:
        if transfer.is_web_page(part):
            raise SourceError("got a web page instead of an archive (an error, quota or confirmation page?)")
        if problem := containers.problem(containers.kind(part, name)):
            raise SourceError(f"the downloaded file is {problem}")
    except SourceError:
        part.unlink()
        raise
    shutil.move(part, folder / name)
    return Fetched([name])
