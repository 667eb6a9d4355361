"""The Dockerfile and the dev container name files and versions that exist. Building them needs Docker."""

import json
import re
import tomllib

from packaging.specifiers import SpecifierSet

from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEV = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())


def test_the_containers_python_is_one_that_the_project_allows() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{version}.0" in SpecifierSet(project["requires-python"])


def test_the_packages_are_installed_by_the_makefiles_own_target_from_files_that_exist() -> None:
    (sources,) = re.findall(r"^COPY (.+) \./$", DOCKERFILE, re.MULTILINE)
    assert all((ROOT / name).is_file() for name in sources.split())
    assert "RUN make .venv/installed" in DOCKERFILE
    assert re.search(r"^\.venv/installed: requirements\.lock", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_image_gets_nothing_that_was_made_on_the_host() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (".git", ".venv", ".dvc/cache", ".dvc/config.local", "data/own/*", "models/*"):
        assert name in ignored


def test_the_dev_container_builds_this_dockerfile_and_keeps_its_environment() -> None:
    folder = ROOT / ".devcontainer"
    assert (folder / DEV["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / DEV["build"]["context"]).resolve() == ROOT
    (work,) = re.findall(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)
    assert DEV["workspaceFolder"] == work
    assert DEV["mounts"] == [{"type": "volume", "target": f"{work}/.venv"}]
