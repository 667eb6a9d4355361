"""The versions of Python and of packages. Imports nothing else, because it runs on nodes that may lack everything."""

import importlib.metadata
import platform
from collections.abc import Iterable


def versions(names: Iterable[str]) -> dict[str, str]:
    """The version of Python and of each installed package among the names; "" for one that is missing."""
    found = {"Python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def differences(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """What a node has in another version than this machine, or lacks, in words."""
    return [
        f"{name} {there[name] or 'missing'} (here: {version or 'missing'})"
        for name, version in here.items()
        if there[name] != version
    ]
