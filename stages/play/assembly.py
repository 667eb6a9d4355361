"""Put the payload, the engine and the page's own files into one HTML file with a strict content policy."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from stages.templates import environment

_HERE = Path(__file__).parent
# The parts of the worker's script, in an order in which each part uses only parts before it.
_WORKER = ("tensors.js", "latents.js", "network.js", "plain.js", "assembled.js", "worker.js")


def _joined(*paths: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _of_page(pattern: str) -> list[Path]:
    return sorted((_HERE / "page").glob(pattern))


def _hash(text: str) -> str:
    """The source expression that allows exactly this inline script or style (Content Security Policy Level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def worker() -> str:
    """The script of the worker, which computes the networks."""
    return f'"use strict";\n{_joined(*(_HERE / "engine" / name for name in _WORKER))}'


def client() -> str:
    """The page's side of the engine: the class Engine. It finds the worker's script in the element `engine-worker`."""
    return f'"use strict";\n{_joined(_HERE / "engine/client.js")}'


def policy(script: str, style: str) -> str:
    """A content policy that allows this script and style, the worker and its WebAssembly, and no request anywhere."""
    return (
        f"default-src 'none'; script-src {_hash(script)} 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src {_hash(style)}; img-src data: blob:; media-src blob:; base-uri 'none'; form-action 'none'"
    )


def words() -> dict[str, dict[str, str]]:
    """The page's texts: key => language => text."""
    texts: dict[str, dict[str, str]] = yaml.safe_load((_HERE / "page/words.yaml").read_text(encoding="utf-8"))
    return texts


def _json(value: Any) -> str:
    """JSON for a script element. A "<" would let a name in the data end the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def render(payload: dict[str, Any]) -> str:
    """The page, as HTML.

    The template page.html.j2 escapes the `words` and the name of the `data`. It gets the other texts as they have to
    be: `payload_json`, `words_json`, `worker` (the worker's script), `script` (the class Engine, then page/*.js),
    `style` (page/*.css) and `policy`.
    """
    script = "\n".join((client(), _joined(_HERE / "engine/latents.js", *_of_page("*.js"))))
    style = _joined(*_of_page("*.css"))
    return (
        environment(_HERE / "page", html=True)
        .get_template("page.html.j2")
        .render(
            data=payload["facts"]["title"],
            words=words(),
            words_json=_json(words()),
            payload_json=_json(payload),
            worker=worker(),
            script=script,
            style=style,
            policy=policy(script, style),
        )
    )
