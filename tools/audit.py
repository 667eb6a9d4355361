"""The licence of every package in requirements.lock, as one table: python -m tools.audit > docs/dependencies.md

The licences come from the metadata of the installed packages. For known vulnerabilities, run
`pipx run pip-audit --require-hashes -r requirements.lock`, which queries a database on the network.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

_HEAD = """# The dependencies and their licences

`python -m tools.audit > docs/dependencies.md` writes this page from the metadata of `requirements.lock`'s packages.
A dash marks a package that only other systems or Python versions need, or one without a licence in its metadata
(namex). For known vulnerabilities, run `pipx run pip-audit --require-hashes -r requirements.lock`. The GitHub workflow
does this too.

This repository contains none of these packages: pip downloads them and checks the lock's hashes. Packages under the GPL
or the MPL are used unmodified, by the tools around them (DVC, its Git library). They put no terms on your models and
pictures.

| package | version | licence |
|---|---|---|
"""
_LONGEST = 60  # characters; some packages give their licence's whole text instead of its name


def locked(lock: Path) -> Iterator[Requirement]:
    """The packages in a lock file, each with its version and its environment marker."""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            yield Requirement(line.removesuffix("\\").strip())


def licence(name: str) -> str:
    """The licence in an installed package's metadata; a dash if the package or its licence is missing."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return "–"
    classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    short = str(metadata.json.get("license", "")).strip()
    short = short if 0 < len(short) <= _LONGEST and "\n" not in short else ""
    expression = str(metadata.json.get("license_expression", ""))
    return (expression or short or ", ".join(classifiers) or "–").replace(" | ", " or ")


def table(lock: Path) -> str:
    """The page: its text and one row per package."""
    rows = (
        f"| {package.name} | {str(package.specifier).removeprefix('==')} | {licence(package.name)} |"
        for package in locked(lock)
    )
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(table(Path("requirements.lock")).encode())  # UTF-8 for any terminal's encoding
