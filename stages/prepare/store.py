"""Where finished shards wait until all are done: a folder, or any address that fsspec knows (s3://, gs://, memory://)."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import StageError


@dataclass(frozen=True)
class Store:
    """A folder (`url` is a path) or an address that every worker can reach; small enough to be sent to each."""

    url: str

    @staticmethod
    def at(place: str, key: str, default: Path) -> "Store":
        """The store of a run: below `place` (a folder or an address) under its key, or the `default` folder."""
        if "://" in place:
            return Store(f"{place.rstrip('/')}/{key}")
        return Store(str((Path(place) / key if place else default).resolve()))

    @property
    def local(self) -> Path | None:
        """The folder, where it is one."""
        return None if "://" in self.url else Path(self.url)

    def scratch(self) -> Path | None:
        """Where a worker builds: in the folder, so that what is done is only renamed; else where the system says."""
        if self.local is not None:
            self.local.mkdir(parents=True, exist_ok=True)
        return self.local

    def _remote(self, name: str) -> tuple[Any, str]:
        import fsspec  # here and not above: with asyncio it takes each process 80 ms, and a folder needs none of it

        try:
            return fsspec.core.url_to_fs(f"{self.url.rstrip('/')}/{name}")
        except (ImportError, ValueError) as error:
            raise StageError(f"PREPARE_STORE: {self.url}: {error}") from None

    def put(self, path: Path, name: str) -> None:
        """Take a finished file; it appears under its name at once and whole."""
        if self.local is not None:
            path.replace(self.local / name)
            return
        system, place = self._remote(name)
        system.makedirs(system._parent(place), exist_ok=True)
        system.put_file(str(path), place)

    def get(self, name: str, scratch: Path) -> Path | None:
        """A path to the file's bytes (in `scratch` where they come from elsewhere); None where there is none."""
        if self.local is not None:
            path = self.local / name
            return path if path.is_file() else None
        system, place = self._remote(name)
        if not system.exists(place):
            return None
        system.get_file(place, str(scratch / name))
        return scratch / name

    def move(self, name: str, target: Path) -> None:
        """Bring a file to where it belongs for good, across file systems if need be."""
        if self.local is not None:
            try:
                (self.local / name).rename(target)
            except OSError:
                shutil.move(self.local / name, target)
            return
        system, place = self._remote(name)
        system.get_file(place, str(target))

    def clear(self) -> None:
        """Remove what is left."""
        if self.local is not None:
            shutil.rmtree(self.local, ignore_errors=True)
            return
        system, place = self._remote("")
        system.rm(place, recursive=True)
