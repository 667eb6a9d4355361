"""Write the best params of a search as a preset."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.utils.serialize import modify_yaml

from stages import params
from stages.errors import StageError
from stages.shell import printable
from stages.workspace import Workspace
from tools.search.experiment import set_params

_MARK = "# Found by `make search`"  # the first words of every preset that a search wrote
_HEADER = re.compile(r"(?:#.*\n)*\n*")


def require_free(path: Path) -> None:
    """Raise StageError if the file exists and no search wrote it."""
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(_MARK):
        raise StageError(f"{path}: exists, and no search wrote it; choose another NAME")


def write(path: Path, base: Path, values: Mapping[str, Any], comment: Sequence[str]) -> None:
    """Write the params file `base` with other values to `path`, below a comment. Its own comments stay.

    Raises ParamsError if the params are not valid.
    """
    require_free(path)
    text = _HEADER.sub("", base.read_text(encoding="utf-8"), count=1)
    first, *others = map(printable, comment)
    with Workspace().outputs(str(path)) as new:
        part = new(str(path))
        part.write_text(text, encoding="utf-8")
        with modify_yaml(str(part)) as content:
            set_params(content, values)
        body = part.read_text(encoding="utf-8")
        part.write_text(
            "".join(f"{line}\n" for line in (f"{_MARK}: {first}", *(f"# {line}" for line in others), "")) + body,
            encoding="utf-8",
        )
        params.check(part)
