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


def _sources(folder: str, pattern: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((_HERE / folder).glob(pattern)))


def _hash(text: str) -> str:
    """The source expression that allows exactly this inline script or style (Content Security Policy Level 3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON for a script element. A "<" would let a name in the data end the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def words() -> dict[str, dict[str, str]]:
    """The page's texts: key => language => text."""
    texts: dict[str, dict[str, str]] = yaml.safe_load((_HERE / "page/words.yaml").read_text(encoding="utf-8"))
    return texts


def render(payload: dict[str, Any]) -> str:
    """The page. Its content policy allows its own script and style, and no request to anywhere.

    The template page.html.j2 escapes what it shows. It puts these texts in as they are: `payload` and `words_json`
    (JSON), `worker` (the worker's script), `script` (the page's side of the engine, then page/*.js), `style`
    (page/*.css) and `policy`.
    """
    worker = "\n".join((_HERE / "engine" / name).read_text(encoding="utf-8") for name in _WORKER)
    script = f'"use strict";\n{_sources("engine", "client.js")}\n{_sources("page", "*.js")}'
    style = _sources("page", "*.css")
    policy = (
        f"default-src 'none'; script-src {_hash(script)} 'wasm-unsafe-eval'; worker-src blob:; style-src {_hash(style)}; "
        "img-src data: blob:; media-src blob:; base-uri 'none'; form-action 'none'"
    )
    template = environment(_HERE / "page", html=True).get_template("page.html.j2")
    return template.render(
        payload=_json(payload),
        words=words(),
        words_json=_json(words()),
        data=payload["facts"]["title"],
        worker=f'"use strict";\n{worker}',
        script=script,
        style=style,
        policy=policy,
    )
