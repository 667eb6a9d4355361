"""Does the committed dvc.lock match the code, the params and the committed results? Pulls and runs nothing.

`dvc repro --dry --allow-missing` alone does not tell: it exits with 0 when a stage would run, prints no stage when a
missing input stops it, and does not mind a result that was never committed. So all three are looked at.
"""

import subprocess
import sys
from pathlib import Path

import yaml


def _in_git(path: str) -> bool:
    """Whether Git has the file, or all of the folder."""

    def listed(*options: str) -> str:
        command = ["git", "ls-files", *options, "--", path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return bool(listed()) and not listed("--others")


def complaints() -> list[str]:
    """What is stale in the project of the current folder; empty where all is fresh."""
    found = []
    if not Path("dvc.lock").is_file():
        return ["dvc.lock is missing"]
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing"]
    dry = subprocess.run(command, capture_output=True, text=True, check=False)
    found += [line for line in dry.stdout.splitlines() if line.startswith("Running stage")]
    if dry.returncode:
        found.append(f"dvc repro --dry exits with {dry.returncode}: {dry.stderr.strip()}")
    for name, stage in yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        for kind in ("outs", "metrics", "plots"):
            for out in stage.get(kind, []):
                path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
                if options.get("cache") is False and not _in_git(path):
                    found.append(f"{path} of the stage {name} is not in Git")
    return found


if __name__ == "__main__":
    stale = complaints()
    for line in stale:
        print(f"stale: {line}", file=sys.stderr)
    if stale:
        sys.exit("error: dvc.lock does not match code and params; run `make repro` and commit dvc.lock and reports/")
    print("fresh: dvc.lock matches code, params and the committed results")
