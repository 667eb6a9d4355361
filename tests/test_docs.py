"""The documents' commands, typed as they stand, page by page: they end as they say, and print what is printed there.

A block that begins with ```console is typed into one bash for the page, in a clone in which presets/quick.yaml has run
and been committed; ```console fails says that its last command does not end well. What is printed is compared but for
numbers, hashes, times and spaces, and `...` stands for any lines. After a change that is meant,

    UPDATE_DOCS=1 pytest tests/test_docs.py

writes what was printed into the page, to be read before it is committed.
"""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.photos import photo
from tests import servers
from tests.conftest import ROOT, Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if "```console" in path.read_text()]
_BLOCK = re.compile(r"^```console( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "\x01"


@dataclass(frozen=True)
class Command:
    """A command of a page, what is printed below it, and where in the page that stands."""

    text: str
    printed: str
    place: tuple[int, int]
    fails: bool


def commands(page: str) -> Iterator[Command]:
    """The commands of a page's console blocks, in their order; lines that begin with `> ` go on with the one before."""
    for block in _BLOCK.finditer(page):
        at, parts = block.start(2), re.split(r"(?m)^(?=\$ )", block[2])
        assert not parts[0], f"a block begins with what no command printed: {parts[0]!r}"
        for i, part in enumerate(parts[1:]):
            first, *others = part.splitlines(keepends=True)
            typed = [first.removeprefix("$ ")]
            while others and others[0].startswith("> "):
                typed.append(others.pop(0).removeprefix("> "))
            printed = "".join(others)
            end = at + len(part)
            yield Command(
                "".join(typed).strip(), printed, (end - len(printed), end), bool(block[1]) and i == len(parts) - 2
            )
            at = end


def essence(printed: str) -> str:
    """What must be the same whoever runs it and when: no numbers, hashes, times, column widths, progress."""
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rsplit("\r", 1)[-1]) for line in printed.splitlines()]
    text = "\n".join(line for line in lines if not re.match(r"[\w' ]+: \d+%", line))
    text = re.sub(r"(?<!\.)\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b", "H", text)
    text = re.sub(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?(AM|PM))?", "N", text)
    text = re.sub(r"[ \t]+|-{2,}", " ", text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip(" -|+"))


class Shell:
    """A bash of a user in a folder, with these variables."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def type(self, text: str) -> tuple[int, str]:
        """Type a command; its exit status, and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {text}\n}} </dev/null 2>&1; echo {_END}$?\n".encode())
        self._process.stdin.flush()
        printed = b""
        while not (ended := re.search(rf"{_END}(\d+)\n\Z".encode(), printed)):
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            assert part, printed.decode()
            printed += part
        return int(ended[1]), printed[: ended.start()].decode()

    def close(self) -> None:
        """End it, and what it left in the background."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Place:
    """Where a page is tried: a clone, the user's environment, and what stands for addresses that are none."""

    clone: Clone
    environment: dict[str, str]
    instead: dict[str, str]


@pytest.fixture
def place(quick_run: Clone, tmp_path: Path) -> Iterator[Place]:
    """A clone in a home with pictures, and a server for the addresses that the pages name."""
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(150):
            (tmp_path / "pictures" / name / f"{i}.jpg").write_bytes(photo(i + 1000 * (name == "cats")))
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    (tmp_path / "pictures/dogs/half.jpg").write_bytes(photo(7)[:3000])
    clone = quick_run.copied(tmp_path / "dcgan")
    # In a clone that a page makes, the environment of the tests stands for what `make setup` would put there.
    hooks = tmp_path / "template/hooks"
    hooks.mkdir(parents=True)
    linked = f"[ -e .venv ] || ln -s '{sys.prefix}' .venv\ntouch -d 2000-01-01 requirements*.lock\n"
    (hooks / "post-checkout").write_text(f"#!/bin/sh\n{linked}")
    (hooks / "post-checkout").chmod(0o755)
    (tmp_path / "web").mkdir()
    subprocess.run(
        ["tar", "-czf", tmp_path / "web/faces.tar.gz", "-C", tmp_path / "pictures", "cats", "dogs"], check=True
    )
    environment = clone.environment() | {
        "GIT_TEMPLATE_DIR": str(tmp_path / "template"),
        "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
        "MAKEFLAGS": "--no-print-directory",
        "COLUMNS": "200",
        "PAGER": "cat",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    (tmp_path / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@localhost\n[advice]\n\tdetachedHead = false\n"
    )
    with servers.http(tmp_path / "web", tmp_path / "web.log") as address:
        yield Place(clone, environment, {"https://example.org": address, "/home/ada": str(tmp_path)})


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_does_what_it_says(place: Place, path: Path) -> None:
    page = path.read_text()
    shell, checker = Shell(place.clone.folder, place.environment), doctest.OutputChecker()
    written, at, wrong = "", 0, []
    try:
        for command in commands(page):
            text = command.text
            for address, here in place.instead.items():
                text = text.replace(address, here)
            code, printed = shell.type(text)
            for address, here in place.instead.items():
                printed = printed.replace(here, address)
            assert (code != 0) == command.fails, f"$ {command.text}\nexits with {code}:\n{printed}"
            wanted = re.sub(r"(?m)^\.\.\.\n", "...", f"{essence(command.printed)}\n")  # any lines, none too
            same = checker.check_output(wanted, f"{essence(printed)}\n", doctest.ELLIPSIS)
            if not same:
                wrong.append(f"$ {command.text}\nprints\n{essence(printed)}\nand not\n{essence(command.printed)}")
            written += page[at : command.place[0]] + (command.printed if same else printed)
            at = command.place[1]
    finally:
        shell.close()
        if os.environ.get("UPDATE_DOCS"):
            path.write_text(written + page[at:])
            wrong.clear()
    assert not wrong, "\n\n".join(wrong)
