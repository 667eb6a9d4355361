"""Files from addresses, whole: resumed where they broke off, tried again, and told from web pages saved as them."""

import re
import time
from collections.abc import Mapping
from pathlib import Path

import requests

from stages import shell
from stages.progress import Progress

CHUNK = 1 << 16  # bytes; a broken transfer loses at most one
_ATTEMPTS = 4
_TIMEOUT = (10, 30)  # seconds to connect, and between two chunks
# Where files wait that somebody has placed by hand, in a folder for each thing that is fetched.
MANUAL_FOLDER = Path("data/manual")


class SourceError(Exception):
    """This source did not give the file; the message says why. The next one is tried."""


def without_credentials(address: str) -> str:
    """An address without the name and the password that it may have: for messages and results, which are passed on."""
    return re.sub(r"^([^/?#]+://)[^/?#]*@", r"\1", address)  # of one that is none, too


def is_web_page(path: Path) -> bool:
    """Whether a file begins as a web page does: an error's, or a quota's, that was saved as the file."""
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))


def download(url: str, part: Path, *, pinned: bool) -> None:
    """Download `url` to `part`, going on where an earlier try stopped if the server allows ranges.

    What an earlier run left is only gone on from where the server says that its file is still the same one, or where
    the hash is known (`pinned`) and the caller will see it.

    Retries with a doubling pause after a broken transfer, a time-out or a server's 5xx or 429; an address that is none,
    a name that does not resolve and a 4xx end it at once. Raises SourceError. What arrived so far stays in `part` for
    the next run.
    """
    if not pinned and not _stamp(part).is_file():
        part.unlink(missing_ok=True)
    for attempt in range(_ATTEMPTS):
        try:
            _transfer(url, part)
            return
        except (requests.RequestException, ValueError) as error:  # ValueError: an address that is none
            answer = error.response if isinstance(error, requests.RequestException) else None
            status = answer.status_code if answer is not None else None
            hopeless = "NameResolutionError" in repr(error) or (
                status is not None and status < 500 and status not in (408, 429)
            )
            hopeless |= isinstance(error, ValueError)
            if status == 416 and part.exists():  # nothing after what we have: it is whole, or not this file's beginning
                total = answer.headers.get("Content-Range", "").rpartition("/")[2] if answer is not None else ""
                if total == str(part.stat().st_size) or (pinned and not total.isdigit()):
                    return
                part.unlink()
                hopeless = False
            told = _short(error).replace(url, without_credentials(url))
            if hopeless or attempt == _ATTEMPTS - 1:
                raise SourceError(f"{told} (tries: {attempt + 1})") from error
            pause = 2.0**attempt
            shell.say(f"{without_credentials(url)}: {told}; trying again in {pause:g} s")
            time.sleep(pause)


def _short(error: requests.RequestException | ValueError) -> str:
    """What went wrong, without urllib3's nest of brackets."""
    if isinstance(error, ValueError):
        return f"no address: {error}"
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if "NameResolutionError" in repr(error):
        return "the address does not resolve (no network?)"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return f"the connection failed or broke off ({type(error).__name__})"
    return f"the transfer broke ({type(error).__name__})"


def _stamp(part: Path) -> Path:
    """Where it is noted which version of a file the beginning in `part` is of."""
    return part.with_name(f"{part.name}.stamp")


def _version(headers: Mapping[str, str]) -> str:
    """What a server calls the version of a file: a strong ETag, else the date; empty where it does not say."""
    strong = headers.get("ETag", "")
    return strong if strong and not strong.startswith("W/") else headers.get("Last-Modified", "")


def _transfer(url: str, part: Path) -> None:
    """One try: the rest of `url` appended to `part`. Raises requests.RequestException, also for one of other length."""
    have = part.stat().st_size if part.exists() else 0
    # identity: what is counted, resumed and hashed are the file's bytes, not a transport encoding of them
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    stamp = _stamp(part)
    before = stamp.read_text(encoding="utf-8") if have and stamp.is_file() else ""
    if before:
        headers["If-Range"] = before
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        # Some servers call every .gz and .tgz gzip-encoded, and requests would unpack it.
        response.raw.headers.pop("Content-Encoding", None)
        resumed, known = response.status_code == 206, _version(response.headers)
        if resumed and before and known and known != before:  # a server that knows ranges and not If-Range
            part.unlink()
            _transfer(url, part)
            return
        if not resumed:
            stamp.write_text(known, encoding="utf-8") if known else stamp.unlink(missing_ok=True)
        length = response.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length and length.isdigit() else 0
        with (
            part.open("ab" if resumed else "wb") as out,
            Progress(f"download {part.stem}", total, "bytes") as progress,
        ):
            progress.advance(have if resumed else 0)
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                progress.advance(len(chunk))
        if total and (came := part.stat().st_size) != total:
            if came > total:
                part.unlink()  # nothing to go on from
            raise requests.ConnectionError(f"{came} of {total} bytes")
