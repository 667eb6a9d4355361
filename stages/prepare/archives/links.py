"""Links within an archive. They are followed to members of the same archive, and nowhere else."""

import posixpath
from collections.abc import Mapping

_MAX_STEPS = 40  # links from one to the next, as Linux follows them


def normal(path: str) -> str:
    """A path without "." and "..", so that two spellings of one path are equal."""
    return posixpath.normpath(path)


def target(name: str, link: str) -> str:
    """The path in the archive that a symbolic link with this name leads to."""
    return normal(posixpath.join(posixpath.dirname(name), link))


def ends(links: Mapping[str, str]) -> dict[str, str]:
    """Where each link leads to through all others; without the links that lead in a circle.

    The keys are normal paths of links, the values their targets.
    """
    final = {}
    for link, path in links.items():
        for _ in range(_MAX_STEPS):
            if path not in links:
                final[link] = path
                break
            path = links[path]
    return final
