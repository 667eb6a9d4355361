"""The members of a tar, from its headers."""

import errno
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stages import containers
from stages.errors import StageError
from stages.prepare.archives import links
from stages.prepare.archives.member import DAMAGED, LINK, MALFORMED_ERRORS, PLAIN, SPECIAL, Member

BLOCK = 512
# The fields of a header that nobody needs here: mode, owner, group; date; device numbers (POSIX.1-1988, ustar).
_UNUSED = (slice(100, 124), slice(136, 148), slice(329, 345))
_CHECKSUM = slice(148, 156)


class _Header(tarfile.TarInfo):
    """A header that is read even if its mode, owner, date or device numbers are malformed, as bsdtar does."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """The header in a block. Raises tarfile.HeaderError."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError:
            if not containers.is_tar_header(buf):
                raise
        block = bytearray(buf)
        for field in _UNUSED:
            block[field] = bytes(len(block[field]))
        block[_CHECKSUM] = b" " * 8
        block[_CHECKSUM] = b"%06o\0 " % sum(block)
        return super().frombuf(block, encoding, errors)


def _headers(file: IO[bytes], end: int) -> Iterator[tarfile.TarInfo]:
    """Each header of one tar that begins where the file is. Leaves the file at the block that ends it.

    Raises TarError and MALFORMED_ERRORS.
    """
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined] # else tarfile keeps a kilobyte for each
            if archive.offset < info.offset_data:
                raise tarfile.ReadError(f"a negative size of {info.name!r}")  # this would loop forever
            if info.isreg() and not info.issparse() and info.offset_data + info.size > end:
                raise tarfile.ReadError("unexpected end of data")
            yield info
        file.seek(archive.offset)


def _next_tar(file: IO[bytes]) -> bool:
    """Whether another tar follows the zeros that end one (`cat a.tar b.tar`). Leaves the file at its first block.

    Other bytes behind the end of a tar do not count. Raises ReadError if the tar does not end with zeros.
    """
    block = file.read(BLOCK)
    if block.strip(b"\0"):  # tarfile mistakes an unreadable header for the end of the archive
        raise tarfile.ReadError(f"a bad header at byte {file.tell() - len(block):,}")
    while len(block) == BLOCK and not block.strip(b"\0"):
        block = file.read(BLOCK)
    file.seek(-len(block), 1)
    return containers.is_tar_header(block)


def _entries(path: Path, origin: Path) -> Iterator[tuple[tarfile.TarInfo, Member]]:
    """Each header of a tar in stored order, with its member, except folders. Raises StageError, naming `origin`."""
    end = path.stat().st_size
    try:
        with path.open("rb") as file:
            follows = True
            while follows:
                for info in _headers(file, end):
                    if info.isreg() and not info.issparse():
                        yield info, Member(info.name, info.offset_data, info.size, info.size, PLAIN)
                    elif not info.isdir():
                        kind = LINK if info.issym() or info.islnk() else SPECIAL
                        yield info, Member(info.name, 0, 0, 0, kind)
                follows = _next_tar(file)
    except (tarfile.TarError, *MALFORMED_ERRORS) as error:
        raise StageError(f"{origin}: {DAMAGED.format(error)}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise StageError(f"{origin}: {DAMAGED.format('a negative size')}") from None  # tarfile seeks before the file


def members(path: Path, origin: Path) -> Iterator[Member]:
    """The regular and special files of a tar in stored order, then its links. Raises StageError, naming `origin`.

    A hard link is the last file before it with the name that it links to. A symbolic link is the last file of all with
    that name. A link to nothing in the archive is a member of the kind LINK. Links take a second pass: a single pass
    would keep the names of all files in memory.
    """
    hard: set[str] = set()
    symbolic: dict[str, str] = {}
    for info, member in _entries(path, origin):
        if info.islnk():
            hard.add(links.normal(info.linkname))
        elif info.issym():
            symbolic[links.normal(info.name)] = links.target(info.name, info.linkname)
        else:
            yield member
    ends = links.ends(symbolic)
    wanted = hard | set(ends.values())
    files: dict[str, Member] = {}
    later = []
    for info, member in _entries(path, origin) if hard or symbolic else ():
        if info.issym():
            later.append(info.name)
            continue
        if info.islnk():
            member = files.get(links.normal(info.linkname), member)._replace(name=info.name)
            yield member
        if member.kind == PLAIN and (name := links.normal(info.name)) in wanted:
            files[name] = member
    for name in later:
        file = files.get(ends.get(links.normal(name), ""), Member(name, 0, 0, 0, LINK))
        yield file._replace(name=name)
