"""DVCLive's files at the places of the outputs, while the training runs.

The outputs of a stage move into place at its end, and DVC removes the earlier ones before it starts. So `dvc exp show`,
`dvc plots show` and DVC's extension for VS Code would find nothing during the training. These copies fill the gap. They
are removed before the outputs move into place, and when the training is interrupted; after a `kill -9` they stay, until
`git restore` or the next `dvc repro`. Where an earlier output is still in place, as without DVC, there are no copies.
"""

import json
import shutil
from pathlib import Path

_FILE, _FOLDER = "metrics.json", "plots"


class Mirror:
    """Copies of metrics.json and plots/ in a folder."""

    def __init__(self, place: Path) -> None:
        self._places = (place / _FILE, place / _FOLDER)
        self._wanted = False

    def begin(self) -> None:
        """Decide whether there will be copies."""
        self._wanted = not any(path.exists() for path in self._places)

    def update(self, live: Path, minutes_left: float | None) -> None:
        """Copy what is new in DVCLive's folder. metrics.json also has `minutes_left`, which no output has."""
        if not self._wanted:
            return
        file, folder = self._places
        for path in (path for path in (live / _FOLDER).rglob("*") if path.is_file()):
            copy = folder / path.relative_to(live / _FOLDER)
            if not copy.exists() or copy.stat().st_size != path.stat().st_size:  # DVCLive only appends lines
                copy.parent.mkdir(parents=True, exist_ok=True)
                _replace(copy, path.read_bytes())
        if (live / _FILE).exists():
            values = json.loads((live / _FILE).read_text(encoding="utf-8"))
            more = {} if minutes_left is None else {"minutes_left": round(minutes_left, 1)}
            _replace(file, json.dumps(values | more, indent=4).encode())

    def remove(self) -> None:
        """Remove the copies, so that the outputs can take their places."""
        if self._wanted:
            file, folder = self._places
            file.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    part.replace(path)
