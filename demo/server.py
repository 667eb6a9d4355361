"""The server: one page per language, and a redirect to the one that the browser prefers."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import uvicorn
from fastapi.middleware.trustedhost import TrustedHostMiddleware

from demo import page
from demo.actions import LANGUAGES, MAX_BYTES
from demo.models import GENERATOR, Models
from stages import artifacts

ANY_HOST = ("*",)
_FORM = "multipart/form-data"  # the type of uploads
_SYSTEM_FONTS = ["system-ui", "Segoe UI", "Liberation Sans", "DejaVu Sans", "Noto Sans CJK SC", "sans-serif"]


def _paths(body: Any) -> Iterator[str]:
    """The paths of files that a request names, at any depth."""
    if isinstance(body, dict):
        if "path" in body:
            yield str(body["path"])
        body = list(body.values())
    if isinstance(body, list):
        for part in body:
            yield from _paths(part)


def _uploads_only(app: fastapi.FastAPI) -> None:
    """Reject requests that name a file which was not uploaded: Gradio would read any file of this machine."""

    @app.middleware("http")
    async def check(request: fastapi.Request, call_next: Any) -> fastapi.Response:
        # FastAPI also parses JSON that comes without a content type, so everything but uploads is checked.
        if request.method == "POST" and not request.headers.get("content-type", "").startswith(_FORM):
            uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
            try:
                paths = list(_paths(json.loads(await request.body() or b"null")))
            except (ValueError, RecursionError):
                return fastapi.Response(status_code=400)
            if any(uploads not in Path(path).resolve().parents for path in paths):
                return fastapi.Response(status_code=403)
        answer: fastapi.Response = await call_next(request)
        return answer


def _own_pages_only(app: fastapi.FastAPI, hosts: Sequence[str]) -> None:
    """Reject requests from other sites' pages: a browser hides the answer from them, but still sends the request."""

    @app.middleware("http")
    async def check(request: fastapi.Request, call_next: Any) -> fastapi.Response:
        origin = request.headers.get("origin")
        if hosts != ANY_HOST and origin and origin.partition("://")[2] != request.headers.get("host"):
            return fastapi.Response(status_code=403)
        answer: fastapi.Response = await call_next(request)
        return answer

    # The owner of a domain can make it resolve to 127.0.0.1. A browser then sees their pages and ours as one site.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)


def _routes(app: fastapi.FastAPI) -> None:
    @app.get("/")
    def index(request: fastapi.Request) -> fastapi.responses.RedirectResponse:
        """Redirect to the first of the browser's languages that the page has."""
        wanted = [part.split(";")[0].strip()[:2] for part in request.headers.get("accept-language", "").split(",")]
        language = next((code for code in wanted if code in LANGUAGES), LANGUAGES[0])
        query = f"?{request.url.query}" if request.url.query else ""
        return fastapi.responses.RedirectResponse(f"{language}/{query}")

    @app.get("/favicon.ico", status_code=204)
    def icon() -> None:
        """No icon."""


def _mount_page(app: fastapi.FastAPI, models: Models, language: str) -> None:
    gr.mount_gradio_app(
        app,
        page.build(models, language),
        f"/{language}",
        footer_links=[],
        run_history=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        theme=gr.themes.Default(font=_SYSTEM_FONTS, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"]),
        css=page.style(),
        enable_monitoring=False,
    )


@contextlib.contextmanager
def application(project: Path, hosts: Sequence[str] = ANY_HOST) -> Iterator[fastapi.FastAPI]:
    """The page on a project's models. With `hosts` it answers only to these names, and only to its own pages.

    Raises StageError if neither models/ nor any revision has a model.
    """
    models = Models(project.resolve())
    try:
        offered = models.offered()
        if not offered:
            raise artifacts.missing(project / GENERATOR)
        models.get(next(iter(offered)))  # loads the model before the first user has to wait for it
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        _uploads_only(app)
        _own_pages_only(app, hosts)
        _routes(app)
        for language in LANGUAGES:
            _mount_page(app, models, language)
        yield app
    finally:
        models.close()


def run(app: fastapi.FastAPI, listening: socket.socket) -> None:
    """Serve until a signal arrives."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
