"""The store of finished shards until all are done: a folder, or an address for fsspec (s3://, gs://, memory://)."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import StageError


@dataclass(frozen=True)
class Store:
    """A folder (`url` is its path) or an address that every worker can reach. It is sent to each worker."""

    url: str

    @staticmethod
    def at(place: str, key: str, default: Path) -> "Store":
        """The store of a run: `place` (a folder or an address) with the run's key, or the `default` folder."""
        if "://" in place:
            return Store(f"{place.rstrip('/')}/{key}")
        return Store(str((Path(place) / key if place else default).resolve()))

    @property
    def local(self) -> Path | None:
        """The folder; None for an address."""
        return None if "://" in self.url else Path(self.url)

    def scratch(self) -> Path | None:
        """The folder for temporary files: the store's own, so that `put` only renames; None for the system's."""
        if self.local is not None:
            self.local.mkdir(parents=True, exist_ok=True)
        return self.local

    def _remote(self, name: str) -> tuple[Any, str]:
        import fsspec  # here: with asyncio it takes 80 ms in each process, and a folder does not need it

        try:
            return fsspec.core.url_to_fs(f"{self.url.rstrip('/')}/{name}")
        except (ImportError, ValueError) as error:
            raise StageError(f"PREPARE_STORE: {self.url}: {error}") from None

    def put(self, path: Path, name: str) -> None:
        """Move a finished file into the store, where it appears under its name atomically."""
        if self.local is not None:
            path.replace(self.local / name)
            return
        system, place = self._remote(name)
        system.makedirs(system._parent(place), exist_ok=True)
        system.put_file(str(path), place)

    def get(self, name: str, scratch: Path) -> Path | None:
        """The path of a file in the store, or of its copy in `scratch`; None if the store does not have it."""
        if self.local is not None:
            path = self.local / name
            return path if path.is_file() else None
        system, place = self._remote(name)
        if not system.exists(place):
            return None
        system.get_file(place, str(scratch / name))
        return scratch / name

    def move(self, name: str, target: Path) -> None:
        """Move a file out of the store to its final place, on any file system."""
        if self.local is not None:
            try:
                (self.local / name).rename(target)
            except OSError:
                shutil.move(self.local / name, target)
            return
        system, place = self._remote(name)
        system.get_file(place, str(target))

    def clear(self) -> None:
        """Remove the store."""
        if self.local is not None:
            shutil.rmtree(self.local, ignore_errors=True)
            return
        system, place = self._remote("")
        system.rm(place, recursive=True)
