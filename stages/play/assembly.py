"""Put the payload, the engine and the page's own files into one HTML file with a strict content policy."""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from stages.templates import environment

_HERE = Path(__file__).parent
# The parts of the worker's script, in an order in which each part uses only parts before it.
_WORKER = ("tensors.js", "latents.js", "network.js", "plain.js", "assembled.js", "worker.js")
_PAYLOAD = '<script type="application/json" id="payload">'  # as in page.html.j2


@dataclass(frozen=True)
class Served:
    """What a server adds to the page.

    `folder` has served.html.j2, which extends the page's template, words.yaml, whose texts replace the page's, and
    *.js and *.css. Its scripts append to ADDED (page/start.js). They find `facts` as JSON in the element `served`.
    """

    folder: Path
    facts: dict[str, Any]


def _joined(*paths: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _of_page(pattern: str, served: Served | None) -> list[Path]:
    return [path for folder in _folders(served) for path in sorted(folder.glob(pattern))]


def _folders(served: Served | None) -> list[Path]:
    return [_HERE / "page", *([served.folder] if served else [])]


def _hash(text: str) -> str:
    """The source expression that allows exactly this inline script or style (Content Security Policy Level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def worker() -> str:
    """The script of the worker, which computes the networks."""
    return f'"use strict";\n{_joined(*(_HERE / "engine" / name for name in _WORKER))}'


def client() -> str:
    """The page's side of the engine: the class Engine. It finds the worker's script in the element `engine-worker`."""
    return f'"use strict";\n{_joined(_HERE / "engine/client.js")}'


def policy(script: str, style: str, *, connect: bool = False) -> str:
    """A content policy that allows this script and style, the worker and its WebAssembly, and no request anywhere.

    With `connect`, the page may ask its own server.
    """
    return (
        f"default-src 'none'; script-src {_hash(script)} 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src {_hash(style)}; img-src data: blob:; media-src blob:; base-uri 'none'; form-action 'none'"
    ) + ("; connect-src 'self'" if connect else "")


def words(served: Served | None = None) -> dict[str, dict[str, str]]:
    """The page's texts: key => language => text."""
    texts: dict[str, dict[str, str]] = {}
    for folder in _folders(served):
        texts |= yaml.safe_load((folder / "words.yaml").read_text(encoding="utf-8"))
    return texts


def _json(value: Any) -> str:
    """JSON for a script element. A "<" would let a name in the data end the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def payload_of(page: str) -> dict[str, Any]:
    """The payload of a page that `render` made. Raises ValueError for any other text."""
    _, found, rest = page.partition(_PAYLOAD)
    if not found:
        raise ValueError("it has no networks")
    payload = dict(json.loads(rest.partition("</script>")[0]))
    if not {"facts", "generator", "weights", "timeline", "page"} <= payload.keys():
        raise ValueError("it is of another version")
    return payload


def render(payload: dict[str, Any], served: Served | None = None) -> str:
    """The page, as HTML: a file, or what `served` makes of it.

    The template page.html.j2 escapes the `words` and the name of the `data`. It gets the other texts as they have to
    be: `payload_json`, `words_json`, `served_json`, `worker` (the worker's script), `script` (the class Engine, then
    page/*.js), `style` (page/*.css) and `policy`.
    """
    script = "\n".join((client(), _joined(_HERE / "engine/latents.js", *_of_page("*.js", served))))
    style = _joined(*_of_page("*.css", served))
    templates = environment(_HERE / "page", html=True)
    templates.loader = jinja2.FileSystemLoader(_folders(served))
    return templates.get_template("served.html.j2" if served else "page.html.j2").render(
        data=payload["facts"]["title"],
        words=words(served),
        words_json=_json(words(served)),
        payload_json=_json(payload),
        served_json=_json(served.facts) if served else "",
        worker=worker(),
        script=script,
        style=style,
        policy=policy(script, style, connect=served is not None),
    )
