"""tools/whence.py: how a picture was made, from its provenance and the Git history."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import png
from stages.artifacts import sha256
from stages.errors import StageError
from stages.png import Provenance
from tests.conftest import Clone, dvc, git
from tests.git_project import commit, run_tool
from tools import whence

MANIFEST = "d" * 64
SAMPLED = {"interpolate": [0, 1], "scale": 3}


def trained(folder: Path, name: str) -> str:
    """Write the outputs of a run: the generator (bytes of this name), model.json, the card. Returns the hash."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models/generator.keras").write_text(name)
    generator = sha256(folder / "models/generator.keras")
    (folder / "models/model.json").write_text(
        json.dumps(
            {"generator": {"sha256": generator}, "best_images_seen": 8, "images_seen": 16, "params": {"seed": 7}}
        )
    )
    data = {"title": "Tiny _ <shapes>", "homepage": "", "licence": "MIT", "citation": "drawn by hand"}
    provenance = {
        "data": data,
        "manifest_sha256": MANIFEST,
        "shape": [16, 24, 1],
        "generator_sha256": generator,
        "checkpoint": {"images_seen": 8000, "of": 16000},
        "preset": "quick",
        "params": {"train.images": 16000},
        "seed": 0,
        "environment": {"tensorflow": "2.21.0", "processor": name},
    }
    front = yaml.safe_dump({"provenance": provenance}, sort_keys=False)
    (folder / "reports/model_card.md").write_text(f"---\n{front}---\n# Tiny\n")
    return generator


def drawn(path: Path, generator: str, grid: str = "2x2", **keys: Any) -> Path:
    """A picture with this provenance, at a scale of 3; without other keys, a grid of the seeds 0 to 2."""
    rows, columns = map(int, grid.split("x"))
    keys = {"description": "x", "source": "y", "stage": "sample"} | (keys or {"seeds": "0-2", "params": SAMPLED})
    provenance = Provenance(**keys, generator_sha256=generator, grid=grid if "seeds" in keys else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    png.save_png(png.grid(np.zeros((1, 16, 24, 1)), columns, rows=rows), path, 3, provenance)
    return path


@pytest.fixture(scope="module")
def runs(committed_project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project with a commit for each of several runs, and the hashes of their generators by subject.

    `first` has a tag and was replaced later. `left` was on a branch that a merge dropped. `merged` was added by a merge
    commit. `lively-fox` is an experiment. `last` is the run of main and of the working tree.
    """
    project = Path(shutil.copytree(committed_project, tmp_path_factory.mktemp("runs") / "project"))
    (project / ".gitignore").write_text("/models/model.json\n")
    hashes = {}

    def commit_of(name: str) -> str:
        hashes[name] = trained(project, name)
        dvc(project, "add", "models/generator.keras")
        commit(project, subject=name)
        return git(project, "rev-parse", "HEAD")

    commit_of("first")
    git(project, "tag", "v1")
    base = git(project, "rev-parse", "HEAD")
    git(project, "checkout", "-q", "-b", "side")
    commit_of("left")
    git(project, "checkout", "-q", "main")
    git(project, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    git(project, "merge", "-q", "-s", "ours", "-m", "for nothing", "side")
    git(project, "branch", "-q", "-D", "side")
    git(project, "checkout", "-q", "-b", "half", "main")
    git(project, "commit", "-q", "--allow-empty", "-m", "of half")
    git(project, "checkout", "-q", "main")
    git(project, "merge", "-q", "--no-ff", "--no-commit", "half")
    commit_of("merged")
    git(project, "checkout", "-q", "--detach", base)
    git(project, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/lively-fox", commit_of("lively-fox"))
    git(project, "checkout", "-q", "main")
    commit_of("last")
    return project, hashes


def asked(folder: Path, picture: Path) -> str:
    """The output about a picture."""
    return "\n".join(whence.whence(folder, picture, whence.read(picture)))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("first", "tag v1, branch half"),
        ("left", "replaced since, in the history of branch half, branch main"),
        ("merged", "replaced since, in the history of branch main"),
        ("lively-fox", "experiment lively-fox"),
        ("last", "branch main"),
    ],
)
def test_the_commit_that_introduced_a_pictures_generator_is_found(
    runs: tuple[Path, dict[str, str]], tmp_path: Path, name: str, names: str
) -> None:
    project, hashes = runs
    text = asked(project, drawn(tmp_path / "x.png", hashes[name]))
    short = git(project, "log", "--all", "--format=%h", f"--grep=^{name}$")
    date = git(project, "show", "-s", "--format=%cs", short)
    assert f"oldest first:\n  {short}  {date}  {name}\n    {names}\n\n" in text
    assert text.count(f"  {date}  ") == 1, "the commits that only kept it are not listed"
    assert "data: Tiny _ <shapes>. Licence: MIT. drawn by hand.\n" in text
    assert f"manifest: {MANIFEST}\n  checkpoint: 8,000 of 16,000 images seen\n" in text
    assert "params: presets/quick.yaml, except train.images = 16000\n  seed: 0\n" in text
    assert f"environment: tensorflow = 2.21.0, processor = {name}\n" in text
    assert ("The working tree has this generator" in text) == (name == "last")
    assert git(project, "show", f"{short}:./params.yaml") == "report: {title: 1}"
    assert f"all params: git show {short}:./params.yaml\n" in text


def test_the_commands_prefer_a_commit_on_a_branch_to_an_experiment(
    runs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    project = Path(shutil.copytree(runs[0], tmp_path / "project"))
    assert trained(project, "lively-fox") == runs[1]["lively-fox"]
    commit(project, subject="taken over")
    short = git(project, "log", "--format=%h", "--grep=^taken over$")
    text = asked(project, drawn(tmp_path / "x.png", runs[1]["lively-fox"]))
    assert "experiment lively-fox" in text
    assert f"dvc get . models/generator.keras --rev {short} " in text


@pytest.mark.parametrize("name", ["first", "lively-fox"])
def test_the_printed_command_gets_the_generator(runs: tuple[Path, dict[str, str]], tmp_path: Path, name: str) -> None:
    project = Path(shutil.copytree(runs[0], tmp_path / "project"))
    (get,) = re.findall(r"^  dvc (get .*)$", asked(project, drawn(tmp_path / "x.png", runs[1][name])), re.MULTILINE)
    dvc(project, *get.split())
    assert sha256(project / "generator.keras") == runs[1][name]


@pytest.mark.parametrize(
    ("seeds", "grid", "options"),
    [
        ("0-2", "2x2", "--seeds 0-2 --scale 3"),
        ("0-2", "1x3", "--seeds 0-2 --grid 1x3 --scale 3"),
        ("0-3,9", "4x3", "--seeds 0-3,9 --grid 4x3 --scale 3"),
        ("0-3, 9", "4x3", "--seeds 0-3,9 --grid 4x3 --scale 3"),
        ("7", "1x1", "--seeds 7 --scale 3"),
        ("5,1,3", "1x3", "--seeds 5,1,3 --grid 1x3 --scale 3"),
    ],
)
def test_the_command_that_draws_the_samples_is_printed(tmp_path: Path, seeds: str, grid: str, options: str) -> None:
    text = asked(tmp_path, drawn(tmp_path / "x.png", lone(tmp_path), grid, seeds=seeds))
    assert f"  python -m stages.sample --model generator.keras {options} --out again.png\n" in text


def test_rewording_the_captions_loses_nothing(tmp_path: Path) -> None:
    generator = lone(tmp_path)
    keys = {"seeds": "0-2", "params": SAMPLED, "manifest_sha256": MANIFEST}
    texts = [
        asked(tmp_path, drawn(tmp_path / "x.png", generator, "1x3", description=caption, source=caption, **keys))
        for caption in ("Samples of the seeds 0 to 2 in order, uncurated", "Nine bags, all of them handmade")
    ]
    first, second = (re.sub(r"^  (Description|Source): .*\n", "", text, flags=re.MULTILINE) for text in texts)
    assert first == second
    assert f"--rev {git(tmp_path, 'rev-parse', '--short', 'HEAD')} -o generator.keras\n" in first
    assert "--seeds 0-2 --grid 1x3 --scale 3 --out again.png\n" in first


def lone(folder: Path) -> str:
    """Create a repository with one commit, of a run. Returns the generator's hash."""
    (folder / "reports").mkdir()
    generator = trained(folder, "lone")
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "reports", subject="lone")
    return generator


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ({"stage": "sample", "params": SAMPLED}, "python -m stages.sample --out ../again "),
        ({"stage": "evaluate"}, "python -m stages.evaluate --out ../again "),
        ({"stage": "demo"}, "make demo "),
        ({"stage": "demo", "seeds": "0-99999999"}, "make demo "),
        ({"stage": "demo", "seeds": "0-3; rm x"}, "make demo "),
        ({"stage": "x; rm y"}, "make demo "),
    ],
)
def test_a_picture_that_seeds_alone_do_not_determine_is_not_redrawn_from_seeds(
    tmp_path: Path, keys: dict[str, Any], command: str
) -> None:
    text = asked(tmp_path, drawn(tmp_path / "x.png", lone(tmp_path), **keys))
    assert f"\n  {command}" in text
    assert "--seeds" not in text


def test_the_root_commit_is_found_even_if_git_log_hides_roots(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "x.png", lone(tmp_path))
    git(tmp_path, "config", "log.showRoot", "false")
    assert "  lone\n    branch main\n" in asked(tmp_path, picture)


def test_a_committed_picture_is_recognised_under_another_name(tmp_path: Path) -> None:
    generator = lone(tmp_path)
    picture = drawn(tmp_path / "reports/samples/grid.png", generator)
    commit(tmp_path, "reports", subject="drawn again")
    moved = picture.rename(tmp_path / "holiday.png")
    subprocess.run(["git", "branch", b"odd-\xff"], cwd=tmp_path, check=True)  # a name that is not UTF-8
    short = git(tmp_path, "log", "--format=%h", "-1")
    text = asked(tmp_path, moved)
    assert f"introduced this very file, oldest first:\n  {short}  " in text
    assert f"  git show {short}:./reports/samples/grid.png > again.png " in text


def test_a_picture_without_provenance_is_found_by_its_bytes(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = tmp_path / "reports/train/plots/images/fixed_z/8.png"
    picture.parent.mkdir(parents=True)
    png.save_png(np.zeros((4, 4, 1), np.uint8), picture, 1)
    commit(tmp_path, "reports", subject="with plots")
    text = asked(tmp_path, picture)
    assert "with plots\n" in text
    assert "environment: tensorflow = 2.21.0, processor = lone" in text
    assert "python -m stages.train --out ../again " in text
    png.save_png(np.ones((4, 4, 1), np.uint8), picture, 1)
    with pytest.raises(StageError, match=r"8\.png: it names no generator, and no commit has this file; .*`git fetch"):
        asked(tmp_path, picture)


def test_a_picture_of_the_data_is_found_by_its_manifest(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = drawn(tmp_path / "x.png", "", source="Tiny (MIT)", manifest_sha256=MANIFEST, params=SAMPLED)
    text = asked(tmp_path, picture)
    assert f"introduced the data with the manifest {MANIFEST[:12]}, oldest first:" in text
    assert f"manifest: {MANIFEST}\n" in text
    assert "generator" not in text
    assert "checkpoint" not in text
    assert "python -m stages.sample --out ../again " in text


def test_a_picture_of_the_data_without_a_hash_is_found_by_its_bytes(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = drawn(tmp_path / "reports/data/contact_sheet.png", "", source="Tiny (MIT)", stage="prepare")
    with pytest.raises(StageError, match="names no generator"):
        asked(tmp_path, picture)
    commit(tmp_path, "reports", subject="prepared")
    assert "python -m stages.prepare --out ../again " in asked(tmp_path, picture)


def test_an_uncommitted_generator_is_that_of_the_working_tree(tmp_path: Path) -> None:
    lone(tmp_path)
    picture = drawn(tmp_path / "x.png", trained(tmp_path, "new"), "1x3")
    text = asked(tmp_path, picture)
    assert "The working tree has this generator: models/generator.keras\n" in text
    assert "From reports/model_card.md:\n  data: Tiny" in text
    assert "  python -m stages.sample --seeds 0-2 --grid 1x3 --scale 3 --out again.png\n" in text
    assert text.endswith(" yet: git add -A && git commit")
    git(tmp_path, "restore", "reports/model_card.md")  # as after a training, before the report
    text = asked(tmp_path, picture)
    assert "From models/model.json:\n" in text
    assert "checkpoint: 8 of 16 images seen\n" in text
    assert "--seeds 0-2 --grid 1x3 --scale 3 --out again.png\n" in text


@pytest.mark.parametrize("text", ["[]", "{", '{"generator": 1}'])
def test_a_damaged_model_json_belongs_to_no_picture(tmp_path: Path, text: str) -> None:
    generator = lone(tmp_path)
    (tmp_path / "models/model.json").write_text(text)
    assert "The working tree" not in asked(tmp_path, drawn(tmp_path / "x.png", generator))


def test_a_generator_in_no_commit_is_an_error_that_says_what_to_fetch(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    lone(tmp_path / "project")
    picture = drawn(tmp_path / "x.png", "a" * 64)
    done = run_tool("whence", tmp_path / "project", str(picture))
    assert done.returncode == 1
    assert done.stdout.startswith(f"{picture}\n  Description: x\n  Source: y\n")
    assert done.stderr == (
        f"error: {picture}: no commit has the generator aaaaaaaaaaaa in reports/model_card.md; either its run was "
        "never committed, or it is on a branch or in an experiment that this clone does not have: "
        "`git fetch --all --tags`, `dvc exp pull -A origin`, then try again\n"
    )


def test_a_shallow_clone_warns_that_older_commits_can_be_missing(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    old = lone(tmp_path / "project")
    for name in ("other", "new"):
        generator = trained(tmp_path / "project", name)
        commit(tmp_path / "project", "reports", subject=name)
    git(tmp_path, "clone", "-q", "--depth", "1", "-o", "upstream", f"file://{tmp_path}/project", "clone")
    text = asked(tmp_path / "clone", drawn(tmp_path / "x.png", generator))
    assert (
        "branch main, branch upstream/main\n  This clone is shallow, so older commits can be missing: run `git fetch"
        in text
    )
    with pytest.raises(StageError, match=r"`git fetch --unshallow`, `dvc exp pull -A upstream`"):
        asked(tmp_path / "clone", drawn(tmp_path / "x.png", old))
    git(tmp_path / "clone", "fetch", "-q", "--unshallow")
    assert "  lone\n" in asked(tmp_path / "clone", tmp_path / "x.png")


def test_a_file_that_is_not_a_picture_of_the_project_is_an_error_in_one_line(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "x.png", "a" * 64)
    (tmp_path / "half.png").write_bytes(picture.read_bytes()[:60])
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    for path, error in (
        ("nonesuch.png", "nonesuch.png: no such file"),
        ("half.png", "half.png: not a complete PNG; "),
        ("a.jpg", "a.jpg: not a complete PNG; "),
        (".", ".: is a folder; "),
        ("", "name a picture: make whence PNG="),
        ("x.png", "git rev-parse: fatal: not a git repository"),
    ):
        done = run_tool("whence", tmp_path, path)
        assert done.returncode == 1, path
        assert done.stderr.startswith(f"error: {error}"), path
        assert done.stderr.count("\n") == 1, path


def test_control_characters_are_printed_as_escapes(tmp_path: Path) -> None:
    generator = lone(tmp_path)
    git(tmp_path, "commit", "-q", "--amend", "-m", "a\x1b[2J subject")
    text = asked(tmp_path, drawn(tmp_path / "x.png", generator, description="\x1b[2J", seeds="\x1b[2J"))
    assert "\x1b" not in text
    assert '"a\\u001b[2J subject"' in text


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_printed_commands_make_a_picture_again_after_its_model_was_replaced(
    quick_run: Clone, tmp_path: Path
) -> None:
    clone = quick_run.copy(tmp_path / "dcgan")
    for name in ("grid", "interpolation"):
        shutil.copy(clone.folder / f"reports/samples/{name}.png", tmp_path / f"{name}.png")
    before = sha256(clone.folder / "models/generator.keras")
    clone.edit("params.yaml", "images: 19200 ", "images: 3200  ")
    clone.output("dvc", "repro")
    clone.commit("A shorter training")
    assert sha256(clone.folder / "models/generator.keras") != before
    for name, again in (("grid", clone.folder / "again.png"), ("interpolation", tmp_path / "again/reports/samples")):
        text = clone.output("make", "whence", f"PNG=../{name}.png")
        assert "  Quick run\n" in text
        assert "A shorter training" not in text
        (block,) = re.findall(r"To make the picture again .*:\n((?:  .*\n)+)", text)
        show, *commands = [line.strip() for line in block.splitlines()]
        clone.output("bash", "-ec", show)
        original = tmp_path / f"{name}.png"
        assert (clone.folder / "again.png").read_bytes() == original.read_bytes(), "the very file"
        (clone.folder / "again.png").unlink()
        clone.output("bash", "-ec", "\n".join(commands))
        with (
            Image.open(original) as picture,
            Image.open(again / f"{name}.png" if again.is_dir() else again) as other,
        ):
            assert np.array_equal(np.asarray(picture), np.asarray(other))
