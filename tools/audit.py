"""The licence of every package of requirements.lock, as one table: python -m tools.audit > docs/dependencies.md

From what each package says of itself, where it is installed. What is known against a version is told by
`pipx run pip-audit --require-hashes -r requirements.lock`, which asks a database on the network.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

_HEAD = """# The dependencies and their licences

Written by `python -m tools.audit > docs/dependencies.md` from what the packages of `requirements.lock` say of
themselves; one that only other systems or Pythons need has a dash, and so has one that says nothing (namex). What is
known against these versions: `pipx run pip-audit --require-hashes -r requirements.lock`, which the workflow for GitHub
runs.

Nothing of them is in this repository: pip fetches them, held to the lock's hashes. Those under the GPL or the MPL are
used as they are, by the tools around them (DVC, Git's library); they put no terms on your models and pictures.

| package | version | licence |
|---|---|---|
"""
_LONGEST = 60  # some packages put their licence's whole text where its name belongs


def locked(lock: Path) -> Iterator[Requirement]:
    """The packages of a lock file, each with its version and where it is needed."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            yield Requirement(line.removesuffix("\\").strip())


def licence(name: str) -> str:
    """What an installed package says of its licence; a dash where it is not installed or says nothing."""
    try:
        told = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return "–"
    classifiers = [c.split(" :: ")[-1] for c in told.get_all("Classifier") or [] if c.startswith("License ::")]
    short = str(told.json.get("license", "")).strip()
    short = short if 0 < len(short) <= _LONGEST and "\n" not in short else ""
    return (str(told.json.get("license_expression", "")) or short or ", ".join(classifiers) or "–").replace(
        " | ", " or "
    )


def table(lock: Path) -> str:
    """The page."""
    rows = (
        f"| {package.name} | {str(package.specifier).removeprefix('==')} | {licence(package.name)} |"
        for package in locked(lock)
    )
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(table(Path("requirements.lock")).encode())  # a file's text: UTF-8 on any terminal
