"""The arrays in .npz, .npy, HDF5 and idx files, read some rows at a time. Pickles are never read."""

import functools
import math
import tokenize
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from stages import containers
from stages.errors import StageError
from stages.prepare import archives
from stages.prepare.archives.member import DAMAGED, MALFORMED_ERRORS, UNPACKING_ERRORS
from stages.prepare.sources import idx

_CHUNK = 1 << 24  # bytes
# NumPy reads a header with Python's own parser, and a false size may be larger than the memory.
_ERRORS = (*UNPACKING_ERRORS, *MALFORMED_ERRORS, OSError, SyntaxError, tokenize.TokenError, TypeError, MemoryError)


@dataclass(frozen=True)
class Array:
    """An array in a file: its name there (the file's own, if it has one array), its shape and its type of values.

    `rows` reads it: each call begins again, and yields arrays of some rows.
    """

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: Callable[[], Iterator[np.ndarray]]

    def __str__(self) -> str:
        """The file, the name and what is in it: "a.npz: x_train (60,000×28×28 uint8)"."""
        name = "" if self.name == self.file.name else f" {self.name}"
        values = "pickled objects" if self.dtype.hasobject else str(self.dtype)
        return f"{self.file.name}:{name} ({'×'.join(f'{n:,}' for n in self.shape) or 'one value'} {values})"

    def chunks(self) -> Iterator[np.ndarray]:
        """The values, some rows at a time. Raises StageError, naming the file, if it is damaged."""
        try:
            yield from self.rows()
        except _ERRORS as error:
            raise StageError(f"{self.file}: {DAMAGED.format(error)}") from None

    def values(self) -> np.ndarray:
        """All values. Raises StageError, naming the file, if it is damaged."""
        return np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *self.chunks()])


def _rows_per_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return max(1, _CHUNK // max(1, math.prod(shape[1:]) * dtype.itemsize))


def _slices(values: Any) -> Iterator[np.ndarray]:
    """The rows of a memory map or of an HDF5 data set."""
    step = _rows_per_chunk(values.shape, values.dtype)
    for start in range(0, len(values), step):
        yield np.asarray(values[start : start + step])


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape of NumPy's file, whether its order is Fortran's, and its type (numpy.lib.format)."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of NumPy's format")
    return read(file)


def _npz_rows(path: Path, member: str) -> Iterator[np.ndarray]:
    """The rows of a member of an .npz file."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, is_fortran, dtype = _npy_header(file)
        if is_fortran:  # its rows are scattered over the file
            yield np.frombuffer(file.read(), dtype).reshape(shape, order="F")
            return
        step, size = _rows_per_chunk(shape, dtype), math.prod(shape[1:]) * dtype.itemsize
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            data = file.read(count * size)
            if len(data) != count * size:
                raise EOFError(f"{member} ends early")
            yield np.frombuffer(data, dtype).reshape(count, *shape[1:])


def _npz(path: Path, scratch: Path) -> Iterator[Array]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as file:
                    shape, _, dtype = _npy_header(file)
                name = info.filename.removesuffix(".npy")
                yield Array(path, name, shape, dtype, functools.partial(_npz_rows, path, info.filename))


def _npy(path: Path, scratch: Path) -> Iterator[Array]:
    with path.open("rb") as file:
        shape, _, dtype = _npy_header(file)
    rows = functools.partial(_npy_rows, path)
    yield Array(path, path.name, shape, dtype, rows)


def _npy_rows(path: Path) -> Iterator[np.ndarray]:
    yield from _slices(np.load(path, mmap_mode="r", allow_pickle=False))


def _idx(path: Path, scratch: Path) -> Iterator[Array]:
    plain = archives.unpacked(path, scratch)
    values = idx.values(plain)
    yield Array(path, path.name, values.shape, values.dtype, functools.partial(_slices, values))


def _hdf5(path: Path, scratch: Path) -> Iterator[Array]:
    import h5py  # here: it takes 100 ms, and no other format needs it

    names: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            item = file[name]
            if item.external or item.is_virtual or item.shape is None:
                continue  # its values are in other files, which it could choose at will
            dtype = np.dtype("U1") if h5py.check_string_dtype(item.dtype) else item.dtype
            yield Array(path, name, item.shape, dtype, functools.partial(_hdf5_rows, path, name))


def _hdf5_rows(path: Path, name: str) -> Iterator[np.ndarray]:
    import h5py

    with h5py.File(path, "r") as file:
        item = file[name]
        yield from ([item.asstr()[...].astype(str)] if h5py.check_string_dtype(item.dtype) else _slices(item))


_READERS = {"npz": _npz, "npy": _npy, "idx": _idx, "hdf5": _hdf5}


def arrays_of(path: Path, scratch: Path) -> list[Array]:
    """The arrays of a file, in its order. Raises StageError, naming the file, if it is damaged or of another kind."""
    kind = containers.kind(path)
    if kind not in _READERS:
        raise StageError(f"{path}: {containers.problem(kind) or 'not a file of arrays'}")
    try:
        return list(_READERS[kind](path, scratch))
    except _ERRORS as error:
        raise StageError(f"{path}: {DAMAGED.format(error)}") from None
