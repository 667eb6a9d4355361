"""The server: the page of each model, and a JSON interface for what needs Python.

    GET  /?model=NAME          the page
    GET  /payload?model=NAME   the networks of a second model, for the same page
    POST /nearest?model=NAME   {"z": […], "class": 3 or null}: the nearest training images
    POST /judge?model=NAME     a picture's bytes: the discriminator's answer, and the nearest training images
    POST /invert?model=NAME    a picture's bytes: lines of JSON, with the progress and at last the z

An error is {"error": a sentence, "reason": a word that the page can translate}.
"""

import contextlib
import json
import socketserver
import sys
import threading
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from demo.errors import SHOWN, RefusedError
from demo.models import Models, Offered
from stages.errors import StageError
from stages.play.assembly import Served, render

LOOPBACK = "127.0.0.1"
_OWN_NAMES = (LOOPBACK, "localhost", "::1")
MAX_BYTES = 20 << 20
_DRAINED = 256 << 20  # of a body that is too large: a browser reads the answer only when it has sent everything
_MAX_COMPUTING, _MAX_WAITING = 2, 5  # requests that compute at a time; searches for z, the running one included
_HTML, _JSON, _LINES = "text/html; charset=utf-8", "application/json", "application/x-ndjson"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(socketserver.ThreadingTCPServer):
    """Listens on this machine's loopback address alone; port 0 takes a free one."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, models: Models) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.models = models
        self.computing = threading.BoundedSemaphore(_MAX_COMPUTING)
        self.searching, self.waiting = threading.Lock(), threading.BoundedSemaphore(_MAX_WAITING)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, unless the visitor just went away."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte

    def do_GET(self) -> None:
        """Answer with a page, or with a payload."""
        self._answer({"/": self._page, "/payload": self._payload, "/favicon.ico": self._no_icon})

    def do_POST(self) -> None:
        """Compute something."""
        self._answer({"/nearest": self._nearest, "/judge": self._judge, "/invert": self._invert})

    def _answer(self, routes: dict[str, Any]) -> None:
        self._unread = 0
        self._started = False
        try:
            try:
                self._check_sender()
                self._content = self._body()
                address = urlsplit(self.path)
                self._query = {name: values[0] for name, values in parse_qs(address.query).items()}
                if address.path not in routes:
                    raise RefusedError(404, "bad_request", f"{address.path}: no such page")
                routes[address.path]()
            except StageError as error:
                self._fail(error)
            except (ConnectionError, TimeoutError):
                raise
            except Exception as error:
                traceback.print_exc()
                self._fail(
                    RefusedError(500, "bug", f"an error in the demo itself: {type(error).__name__}; see the terminal")
                )
        finally:
            self._drain()

    # What is read

    def _check_sender(self) -> None:
        """Raise RefusedError for a request under another name of this machine, or from another site's page.

        The owner of a domain can make it resolve to 127.0.0.1; a browser then sees their pages and ours as one site. A
        page of another site can send requests here, though a browser hides the answers from it.
        """
        hosts = self.headers.get_all("Host") or [""]
        origin = self.headers.get("Origin")
        try:
            name = urlsplit(f"//{hosts[0]}").hostname
        except ValueError:
            name = None
        if len(hosts) > 1 or name not in _OWN_NAMES:
            raise RefusedError(400, "bad_request", f"this server answers as {LOOPBACK} only")
        if origin is not None and origin.partition("://")[2] != hosts[0]:
            raise RefusedError(403, "bad_request", "this server answers its own page only")

    def _body(self) -> bytes:
        """The body of a request. Raises RefusedError if it is too large, or has no length."""
        if self.command == "GET":
            return b""
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()) or len(text) > 15:
            self.close_connection = True
            raise RefusedError(411, "bad_request", "expected the header Content-Length")
        length = int(text)
        if length > MAX_BYTES:
            self._unread = length
            raise RefusedError(
                413,
                "too_many_bytes",
                f"the file has {length / 2**20:,.0f} MB; at most {MAX_BYTES >> 20} MB are accepted, so make it smaller",
            )
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionAbortedError
        return content

    def _drain(self) -> None:
        """Read and forget the rest of a body, then close the connection."""
        if not self._unread:
            return
        self.close_connection = True
        left = min(self._unread, _DRAINED)
        with contextlib.suppress(OSError):
            while left > 0 and (part := self.rfile.read(min(left, 1 << 20))):
                left -= len(part)

    # What is written

    def _send(self, content: bytes, kind: str, status: int = 200) -> None:
        self._start(status, kind, {"Content-Length": str(len(content))})
        self.wfile.write(content)

    def _start(self, status: int, kind: str, more: dict[str, str]) -> None:
        self._started = True
        self.send_response_only(status)
        for name, value in ({"Content-Type": kind} | _HEADERS | more).items():
            self.send_header(name, value)
        self.end_headers()

    def _send_json(self, value: Any, status: int = 200) -> None:
        self._send(_json(value), _JSON, status)

    def _fail(self, error: StageError) -> None:
        answer = {"error": str(error), "reason": error.reason if isinstance(error, RefusedError) else ""}
        status = error.status if isinstance(error, RefusedError) else SHOWN
        if self._started:  # in the middle of lines
            self._line(answer)
        else:
            self.close_connection |= status != SHOWN  # the body may not have been read
            self._send_json(answer, status)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A request that is no valid HTTP, or has another method."""
        self.close_connection = True
        self._send_json({"error": message or HTTPStatus(code).phrase, "reason": "bad_request"}, code)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing for each request."""

    def _line(self, value: Any) -> None:
        self.wfile.write(_json(value) + b"\n")

    # Pages

    def _model(self) -> Offered:
        return self.server.models.get(self._query.get("model", ""))

    def _page(self) -> None:
        """The page of a model. If that cannot be loaded, the page of the first one, with a note that says why."""
        models = self.server.models
        note = ""
        try:
            shown = models.get(self._query["model"]) if "model" in self._query else models.first()
        except StageError as error:
            shown, note = models.first(), str(error)
        facts = {
            "model": shown.name,
            "models": models.offered(),
            "missing": shown.missing,
            "note": note,
            "megabytes": MAX_BYTES >> 20,
        }
        page = render(shown.payload, Served(Path(__file__).parent / "page", facts))
        self._send(page.encode(), _HTML)

    def _payload(self) -> None:
        payload = self._model().payload
        self._send_json({name: payload[name] for name in ("facts", "generator", "weights")})

    def _no_icon(self) -> None:
        self._send(b"", "image/x-icon")

    # What needs Python

    def _nearest(self) -> None:
        try:
            asked = json.loads(self._content)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise RefusedError(400, "bad_request", "expected JSON with z and class")
        model = self._model().python()
        with self.server.computing:
            answer = model.nearest(model.sample(asked.get("z"), asked.get("class")))
        self._send_json(answer)

    def _class(self) -> int | None:
        text = self._query.get("class", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None

    def _judge(self) -> None:
        model = self._model().python()
        with self.server.computing:
            image = model.prepare(self._content)
            answer = model.judge(image, self._class())
            try:
                answer["nearest"] = model.nearest(image)
            except RefusedError as error:
                answer["nearest"] = {"error": str(error), "reason": error.reason}
        self._send_json(answer)

    def _invert(self) -> None:
        model = self._model().python()
        with self.server.computing:
            image = model.prepare(self._content)
        with self._turn():
            # A visitor who has gone away ends the search: the next line cannot be written.
            found = model.invert(image, lambda share: self._line({"share": share}))
            self._line({"found": found})

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Start the lines and wait: one search for z runs at a time. Raises RefusedError if many wait."""
        if not self.server.waiting.acquire(blocking=False):
            raise RefusedError(SHOWN, "busy", "too many searches are waiting; try again in a minute")
        try:
            self.close_connection = True  # the end of the lines
            self._start(200, _LINES, {"Connection": "close"})
            while not self.server.searching.acquire(timeout=1):
                self._line({"waiting": True})
            try:
                yield
            finally:
                self.server.searching.release()
        finally:
            self.server.waiting.release()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
