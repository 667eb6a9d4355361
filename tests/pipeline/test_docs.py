"""Runs the console blocks of docs/*.md and compares the output with the page.

Each page has one bash, in a clone with a committed run of presets/quick.yaml. It runs the commands of every ```console
block. In a ```console fails block, the last command must exit with an error. The comparison ignores numbers, hashes,
times and spaces; `...` matches any lines. After an intended change,

    UPDATE_DOCS=1 pytest tests/pipeline/test_docs.py

writes the new output into the pages. Read it before you commit it.
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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if "```console" in path.read_text()]
_BLOCK = re.compile(r"^```console( fails)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "\x01"


@dataclass(frozen=True)
class Command:
    """A command of a page, the output shown below it, and the start and end of that output in the page."""

    text: str
    output: str
    span: tuple[int, int]
    fails: bool


def commands(page: str) -> Iterator[Command]:
    """The commands of a page's console blocks in order. A line that begins with `> ` continues the previous line."""
    for block in _BLOCK.finditer(page):
        start, parts = block.start(2), re.split(r"(?m)^(?=\$ )", block[2])
        assert not parts[0], f"the block begins with output before its first command: {parts[0]!r}"
        for i, part in enumerate(parts[1:]):
            first, *lines = part.splitlines(keepends=True)
            command = [first.removeprefix("$ ")]
            while lines and lines[0].startswith("> "):
                command.append(lines.pop(0).removeprefix("> "))
            output = "".join(lines)
            end = start + len(part)
            is_last = i == len(parts) - 2
            yield Command("".join(command).strip(), output, (end - len(output), end), bool(block[1]) and is_last)
            start = end


def normalised(output: str) -> str:
    """The output without the parts that differ between runs: numbers, hashes, times, column widths, progress bars."""
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rsplit("\r", 1)[-1]) for line in output.splitlines()]
    text = "\n".join(line for line in lines if not re.match(r"[\w' ]+: \d+%", line))
    text = re.sub(r"files/md5/[0-9a-f]{2}/", "files/md5/H/", text)
    text = re.sub(r"(?<!\.)\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b", "H", text)
    text = re.sub(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?(AM|PM))?", "N", text)
    text = re.sub(r"[ \t]+|-{2,}", " ", text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip(" -|+"))


def matches(shown: str, output: str) -> bool:
    """Whether the output is the one shown in the page. A line `...` matches any number of lines, even zero."""
    pattern = re.sub(r"(?m)^\.\.\.\n", "...", f"{normalised(shown)}\n")
    return doctest.OutputChecker().check_output(pattern, f"{normalised(output)}\n", doctest.ELLIPSIS)


class Shell:
    """A bash in a folder, with these environment variables."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command and return its exit status and its output."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null 2>&1; echo {_END}$?\n".encode())
        self._process.stdin.flush()
        output = b""
        while not (end := re.search(rf"{_END}(\d+)\n\Z".encode(), output)):
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            assert part, output.decode()
            output += part
        return int(end[1]), output[: end.start()].decode()

    def close(self) -> None:
        """Kill bash and wait for it."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Place:
    """Where a page runs: a clone, the user's environment, and the real places behind the addresses in the pages."""

    clone: Clone
    environment: dict[str, str]
    real: dict[str, str]

    def run(self, shell: Shell, command: Command) -> str:
        """The command's output, with the addresses as the page shows them. Asserts that the exit status is right."""
        text = command.text
        for shown, real in self.real.items():
            text = text.replace(shown, real)
        code, output = shell.run(text)
        for shown, real in self.real.items():
            output = output.replace(real, shown)
        assert (code != 0) == command.fails, f"$ {command.text}\nexits with {code}:\n{output}"
        return output


@pytest.fixture
def place(quick_run: Clone, tmp_path: Path) -> Iterator[Place]:
    """A clone in a home folder with pictures, and a server for the addresses in the pages."""
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(150):
            (tmp_path / "pictures" / name / f"{i}.jpg").write_bytes(photo(i + 1000 * (name == "cats")))
    (tmp_path / "pictures/notes.txt").write_text("not a picture")
    (tmp_path / "pictures/dogs/half.jpg").write_bytes(photo(7)[:3000])
    clone = quick_run.copy(tmp_path / "dcgan")
    # In a clone that a page creates, the .venv of `make setup` is a link to the environment of the tests.
    hooks = tmp_path / "template/hooks"
    hooks.mkdir(parents=True)
    link = f"[ -e .venv ] || ln -s '{sys.prefix}' .venv\ntouch -d 2000-01-01 requirements*.lock\n"
    (hooks / "post-checkout").write_text(f"#!/bin/sh\n{link}")
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
def test_the_commands_of_a_page_print_the_output_shown_below_them(place: Place, path: Path) -> None:
    page = path.read_text()
    shell = Shell(place.clone.folder, place.environment)
    updated, position, differences = "", 0, []
    try:
        for command in commands(page):
            output = place.run(shell, command)
            same = matches(command.output, output)
            if not same:
                differences.append(
                    f"$ {command.text}\nprints\n{normalised(output)}\nexpected\n{normalised(command.output)}"
                )
            updated += page[position : command.span[0]] + (command.output if same else output)
            position = command.span[1]
    finally:
        shell.close()
        if os.environ.get("UPDATE_DOCS"):
            path.write_text(updated + page[position:])
            differences.clear()
    assert not differences, "\n\n".join(differences)
