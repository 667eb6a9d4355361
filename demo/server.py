"""The server: a page for each language, and the way to the one that a browser asks for."""

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
from demo.actions import LANGUAGES, MOST_BYTES
from demo.models import GENERATOR, Models
from stages import artifacts

ANY_HOST = ("*",)
_FORM = "multipart/form-data"  # what uploads come as
_SYSTEM_FONTS = ["system-ui", "Segoe UI", "Liberation Sans", "DejaVu Sans", "Noto Sans CJK SC", "sans-serif"]


def _paths(sent: Any) -> Iterator[str]:
    """The paths of files that a request names, however deep within."""
    if isinstance(sent, dict):
        if "path" in sent:
            yield str(sent["path"])
        sent = list(sent.values())
    if isinstance(sent, list):
        for part in sent:
            yield from _paths(part)


@contextlib.contextmanager
def application(project: Path, hosts: Sequence[str] = ANY_HOST) -> Iterator[fastapi.FastAPI]:
    """The page on a project's models, which answers to these names as its host, and then to no other site's pages.

    Raises StageError where there is no model, in models/ or in any revision.
    """
    models = Models(project.resolve())
    try:
        offered = models.offered()
        if not offered:
            raise artifacts.missing(project / GENERATOR)
        models.get(next(iter(offered)))  # loaded before the first person waits for it
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.middleware("http")
        async def uploads_only(request: fastapi.Request, call_next: Any) -> fastapi.Response:
            """Refuse what names a file that was not uploaded: Gradio would read any of this machine's."""
            # Whatever type it says its content has: FastAPI takes JSON that comes without one.
            if request.method == "POST" and not request.headers.get("content-type", "").startswith(_FORM):
                uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
                try:
                    named = list(_paths(json.loads(await request.body() or b"null")))
                except (ValueError, RecursionError):
                    return fastapi.Response(status_code=400)
                if any(uploads not in Path(path).resolve().parents for path in named):
                    return fastapi.Response(status_code=403)
            answer: fastapi.Response = await call_next(request)
            return answer

        @app.middleware("http")
        async def own_pages_only(request: fastapi.Request, call_next: Any) -> fastapi.Response:
            """Refuse what another site's page asks: a browser keeps the answer from it, but not the request from us."""
            origin = request.headers.get("origin")
            if hosts != ANY_HOST and origin and origin.partition("://")[2] != request.headers.get("host"):
                return fastapi.Response(status_code=403)
            answer: fastapi.Response = await call_next(request)
            return answer

        # A name can be made to mean 127.0.0.1 by whoever owns it, and to a browser its pages and ours are one site's.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

        @app.get("/")
        def chosen(request: fastapi.Request) -> fastapi.responses.RedirectResponse:
            """The page in the first language of the browser's that it has."""
            wanted = [part.split(";")[0].strip()[:2] for part in request.headers.get("accept-language", "").split(",")]
            language = next((code for code in wanted if code in LANGUAGES), LANGUAGES[0])
            query = f"?{request.url.query}" if request.url.query else ""
            return fastapi.responses.RedirectResponse(f"{language}/{query}")

        @app.get("/favicon.ico", status_code=204)
        def icon() -> None:
            """There is none."""

        theme = gr.themes.Default(font=_SYSTEM_FONTS, font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"])
        for language in LANGUAGES:
            gr.mount_gradio_app(
                app,
                page.build(models, language),
                f"/{language}",
                footer_links=[],
                run_history=False,
                max_file_size=MOST_BYTES,
                ssr_mode=False,
                theme=theme,
                css=page.style(),
                enable_monitoring=False,
            )
        yield app
    finally:
        models.close()


def run(app: fastapi.FastAPI, listening: socket.socket) -> None:
    """Serve until a signal comes."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
