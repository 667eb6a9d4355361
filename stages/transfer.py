"""Download a file over HTTP with resume and retries, and fall back from one place to the next."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import requests

from stages import shell
from stages.progress import Progress

T = TypeVar("T")

CHUNK = 1 << 16  # bytes; a broken transfer loses at most one chunk
ATTEMPTS = 4
_TIMEOUT = (10, 30)  # seconds to connect, and between two chunks
# Users put files here that they downloaded themselves: one folder for each data set or network.
MANUAL_FOLDER = Path("data/manual")


class SourceError(Exception):
    """One source failed to provide the file; the message says why. The caller tries the next source or gives up."""


def first_available(places: Mapping[str, Callable[[], T]]) -> tuple[str, T]:
    """Try the places in order. Returns the name of the first that succeeds, and its result.

    A place fails by raising SourceError. If all fail, raises SourceError with a list of the reasons. Its message begins
    with the verb ("could not be downloaded. Tried: ..."): the caller puts the subject before it.
    """
    reasons = []
    for place, get in places.items():
        try:
            return place, get()
        except SourceError as error:
            reasons.append(f"  - {place}: {error}")
    raise SourceError("\n".join(("could not be downloaded. Tried:", *reasons)))


def pause_or_give_up(
    attempt: int, reason: str, *, prefix: str = "", attempts: int = ATTEMPTS, final: bool = False
) -> None:
    """Handle the failure of try number `attempt` (from 0): pause 1, 2, 4 ... seconds before the next one.

    Raises SourceError with the reason if this was the last try, or if the failure is `final`. The `prefix` is printed
    before the reason but is not part of the error.
    """
    if final or attempt == attempts - 1:
        raise SourceError(f"{reason} (tries: {attempt + 1})" if attempts > 1 else reason)
    pause = 2.0**attempt
    shell.say(f"{prefix}{reason}; trying again in {pause:g} s")
    time.sleep(pause)


def _version_note(part: Path) -> Path:
    return part.with_name(f"{part.name}.stamp")


def version_of(part: Path) -> str:
    """The version of the file that `part` is the beginning of, as noted beside it. Empty if there is no note."""
    note = _version_note(part)
    return note.read_text(encoding="utf-8") if note.is_file() else ""


def note_version(part: Path, version: str) -> None:
    """Note beside `part` which version of the file it is the beginning of. An empty version removes the note."""
    note = _version_note(part)
    if version:
        note.write_text(version, encoding="utf-8")
    else:
        note.unlink(missing_ok=True)


def without_credentials(address: str) -> str:
    """An address without its user name and password. Messages and results, which people pass on, use it."""
    return re.sub(r"^([^/?#]+://)[^/?#]*@", r"\1", address)  # works for invalid addresses, too


def is_web_page(path: Path) -> bool:
    """Whether a file is a web page. Servers send one for an error or a quota, with status 200."""
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def download(url: str, part: Path, *, pinned: bool) -> None:
    """Download `url` to `part`, resuming an earlier try if the server supports ranges.

    The part of an earlier run is resumed only if the server can confirm that the file is unchanged, or if the caller
    checks a known hash afterwards (`pinned`).

    Retries with a doubling pause after a broken transfer, a time-out, or a status of 5xx, 408 or 429. An invalid
    address, a name that does not resolve and any other 4xx fail at once. Raises SourceError. The bytes received so far
    stay in `part` for the next run.
    """
    if not pinned and not version_of(part):
        part.unlink(missing_ok=True)
    address = without_credentials(url)
    for attempt in range(ATTEMPTS):
        try:
            _transfer(url, part)
            return
        except (requests.RequestException, ValueError) as error:  # ValueError: an invalid address
            final = _is_final(error)
            if (file_size := _size_if_past_end(error)) is not None and part.exists():
                if file_size == str(part.stat().st_size) or (pinned and not file_size.isdigit()):
                    return
                part.unlink()  # it is not the beginning of this file
                final = False
            pause_or_give_up(attempt, _reason(error).replace(url, address), prefix=f"{address}: ", final=final)


def _is_final(error: requests.RequestException | ValueError) -> bool:
    """Whether another try cannot help: an invalid address, a name that does not resolve, most statuses below 500."""
    if isinstance(error, ValueError) or "NameResolutionError" in repr(error):
        return True
    return (
        error.response is not None and error.response.status_code < 500 and error.response.status_code not in (408, 429)
    )


def _size_if_past_end(error: requests.RequestException | ValueError) -> str | None:
    """The file's size if the server answered 416, "nothing after your last byte"; empty if it does not say the size."""
    response = error.response if isinstance(error, requests.RequestException) else None
    if response is None or response.status_code != 416:
        return None
    return response.headers.get("Content-Range", "").rpartition("/")[2]


def _reason(error: requests.RequestException | ValueError) -> str:
    """The error in one phrase, without urllib3's nested brackets."""
    if isinstance(error, ValueError):
        return f"invalid address: {error}"
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if "NameResolutionError" in repr(error):
        return "the address does not resolve (no network?)"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return f"the connection failed or broke off ({type(error).__name__})"
    return f"the transfer broke off ({type(error).__name__})"


def _version(headers: Mapping[str, str]) -> str:
    """The version of a file according to the server: a strong ETag, else the date, else empty."""
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _transfer(url: str, part: Path) -> None:
    """Append the rest of `url` to `part`, in one try. Raises requests.RequestException, also for a wrong length."""
    start = part.stat().st_size if part.exists() else 0
    part_version = version_of(part) if start else ""
    # identity: the counts, ranges and hashes are of the file's bytes, not of a transport encoding
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    if part_version:
        headers["If-Range"] = part_version
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        # Some servers call every .gz and .tgz gzip-encoded, and requests would unpack it.
        response.raw.headers.pop("Content-Encoding", None)
        resumed, version = response.status_code == 206, _version(response.headers)
        if resumed and part_version and version and version != part_version:  # a server that ignores If-Range
            part.unlink()
            _transfer(url, part)
            return
        if not resumed:
            start = 0
            note_version(part, version)
        _append(response, part, start)


def _append(response: requests.Response, part: Path, start: int) -> None:
    """Write a response's bytes to `part` from byte `start` on. Raises requests.ConnectionError for a wrong length."""
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else 0
    with part.open("ab" if start else "wb") as out, Progress(f"download {part.stem}", total, "bytes") as progress:
        progress.advance(start)
        for chunk in response.iter_content(CHUNK):
            out.write(chunk)
            progress.advance(len(chunk))
    size = part.stat().st_size
    if total and size != total:
        if size > total:
            part.unlink()  # longer than the file: it cannot be resumed
        raise requests.ConnectionError(f"{size} of {total} bytes")
