"""An archive of pictures from a web server."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from stages import transfer
from stages.download import packing
from stages.transfer import SourceError


def fetch(url: str, folder: Path, parts: Path) -> list[str]:
    """Download an archive to `parts`, and move it into `folder` when complete. Returns its name. Raises SourceError."""
    name = Path(urlsplit(url).path).name
    name = "pictures" if name in ("", "..", "source.json") else name
    part = parts / f"{name}.part"
    transfer.download(url, part, pinned=False)
    try:
        if transfer.is_web_page(part):
            raise SourceError("got a web page instead of an archive (an error, quota or confirmation page?)")
        if not packing.is_archive(part):
            raise SourceError(f"the downloaded file is {packing.NOT_AN_ARCHIVE}")
    except SourceError:
        part.unlink()
        raise
    shutil.move(part, folder / name)
    return [name]
