"""A small project under Git and DVC for the tests of the tools, and its user's commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, git

PIPELINE = """
stages:
  judge:
    cmd: cp params.yaml reports/metrics.json
    params: [report]
    metrics:
      - reports/metrics.json:
          cache: false
"""


def commit(folder: Path, *paths: str, subject: str = "a subject") -> None:
    """Commit these paths, or everything."""
    git(folder, "add", "--all", *paths)
    git(folder, "commit", "-q", "-m", subject)


def write_metrics(folder: Path, **values: object) -> None:
    """Write reports/metrics.json."""
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/metrics.json").write_text(json.dumps(values))


def commit_metrics(folder: Path, subject: str, **values: object) -> None:
    """Commit reports/metrics.json with these metrics."""
    write_metrics(folder, **values)
    commit(folder, subject=subject)


def commit_history(folder: Path) -> None:
    """Commit five revisions: two of one protocol (the second has the tag v1), a damaged one, one of another protocol,
    and one that does not change the metrics.
    """
    commit_metrics(folder, "first", fid=40.0, kid=1.5, protocol={"samples": 100})
    commit_metrics(folder, "second\twith a tab", fid=30.0, kid=1.25, protocol={"samples": 100})
    git(folder, "tag", "v1")
    (folder / "reports/metrics.json").write_text('{"fid": ')
    commit(folder, subject="torn")
    commit_metrics(folder, "other", fid=3.0, protocol={"samples": 5})
    git(folder, "commit", "-q", "--allow-empty", "-m", "no metrics in this one")


def run_tool(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in a folder, as a user does."""
    command = [sys.executable, "-m", f"tools.{name}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
