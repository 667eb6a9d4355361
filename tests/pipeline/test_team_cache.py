"""Two users of one group share a cache, with the settings of docs/sharing.md: what one has run, the other reuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GROUP = 12000
PROJECT = """
stages:
  copy:
    cmd: mkdir models && cp params.yaml models/model
    params: [title]
    outs: [models]
"""


def run_as(user: int, folder: Path, *arguments: str) -> str:
    """Run DVC as a user of the group, who may read all files (the tests' environment) but write only by permission."""
    read_all = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    command = ["setpriv", "--reuid", str(user), "--regid", str(GROUP), "--clear-groups", *read_all]
    command += [sys.executable, "-m", *arguments]
    environment = {"PATH": os.environ["PATH"], "USER": f"user{user}", "HOME": str(folder), "DVC_NO_ANALYTICS": "1"}
    environment["DVC_SITE_CACHE_DIR"] = str(folder / ".site")
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_two_users_of_a_group_share_a_cache(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to run as two users")
    cache = tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, 0, GROUP)
    cache.chmod(0o2775)
    users = {user: tmp_path / str(user) for user in (12001, 12002)}
    for user, folder in users.items():
        folder.mkdir()
        (folder / "dvc.yaml").write_text(PROJECT)
        (folder / "params.yaml").write_text("title: 1\n")
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, GROUP)
        run_as(user, folder, "dvc", "init", "--no-scm", "-q")
        run_as(user, folder, "dvc", "cache", "dir", "--local", str(cache))
        run_as(user, folder, "dvc", "config", "--local", "cache.shared", "group")
    ada, bob = users.items()
    run_as(*ada, "dvc", "repro", "-q")
    assert "Stage 'copy' is cached" in run_as(*bob, "dvc", "repro")
    (bob[1] / "params.yaml").write_text("title: 2\n")
    run_as(*bob, "dvc", "repro", "-q")
    (ada[1] / "params.yaml").write_text("title: 2\n")
    assert "Stage 'copy' is cached" in run_as(*ada, "dvc", "repro"), "the first user reads the other's results, too"
    assert (ada[1] / "models/model").read_text() == "title: 2\n"
