"""The Jinja configuration for the pages and texts that the project renders."""

from collections.abc import Callable
from pathlib import Path

import jinja2


def environment(folder: Path, *, html: bool, escape: Callable[[object], str] | None = None) -> jinja2.Environment:
    """Templates from `folder`. A template that uses an undefined name raises an error.

    With `html`, values are escaped for HTML. `escape` is applied to every value of a template that is not HTML.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=html,  # noqa: S701 - off only for Markdown, which `escape` handles
        finalize=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["count"] = "{:,}".format
    return templates
