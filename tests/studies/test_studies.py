"""Studies: cells that run the stages with changed params, the table over seeds, and the page of claims."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from stages import artifacts, params
from stages.errors import StageError
from stages.metrics import files
from stages.train.settings import Settings
from studies import cell, claims, seeds
from tests.conftest import ROOT, Project, metrics_of

STAGES = yaml.safe_load((ROOT / "studies/dvc.yaml").read_text())["stages"]
STUDIES = {name: stage for name, stage in STAGES.items() if "variant" in stage.get("matrix", {})}
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
EMOJI = yaml.safe_load((ROOT / "studies/emoji/dvc.yaml").read_text())["stages"]


def result(fid: float, protocol: str = "a", flags: int = 0, **more: float) -> dict[str, Any]:
    return {"metrics": {"fid": fid, **more, "protocol": {"name": protocol}}, "flags": [{}] * flags}


def test_a_variant_changes_only_the_keys_that_it_names() -> None:
    base = {"train": {"a": 1, "loss": {"b": 2, "c": 3}}, "evaluate": {"d": 4}}
    changed = cell.with_changes(base, {"train": {"loss": {"b": 5}}})
    assert changed == {"train": {"a": 1, "loss": {"b": 5, "c": 3}}, "evaluate": {"d": 4}}
    assert base == {"train": {"a": 1, "loss": {"b": 2, "c": 3}}, "evaluate": {"d": 4}}


def test_the_summary_has_mean_and_sample_deviation_of_the_common_metrics() -> None:
    table = seeds.summary([result(1.0, swd=1), result(2.0), result(3.0)])
    assert table == {"fid": (2.0, 1.0)}
    assert seeds.summary([result(7.0)]) == {"fid": (7.0, 0.0)}
    assert "flagged  1 of 2 trainings" in seeds.as_text({"fid": (1.5, 0.7)}, [result(1.0), result(2.0, flags=1)])


def test_results_of_different_protocols_are_not_summarised() -> None:
    with pytest.raises(StageError, match="different protocols"):
        seeds.summary([result(1.0, "a"), result(2.0, "b")])


def params_of(changes: dict[str, Any]) -> dict[str, Any]:
    """The params of a variant of a committed study, whatever params.yaml holds now."""
    base = changes.get("base", "presets/default.yaml")
    return cell.variant_params({**changes, "base": str(ROOT / base)})


@pytest.mark.parametrize("study", STUDIES)
def test_every_variant_in_the_matrix_is_defined_and_valid(study: str, tmp_path: Path) -> None:
    variants = yaml.safe_load((ROOT / f"studies/{study}.yaml").read_text())
    assert set(STUDIES[study]["matrix"]["variant"]) <= set(variants)
    for name, changes in variants.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(params_of(changes or {})))
        params.check(file)


needs_results = pytest.mark.skipif(
    not (ROOT / "studies/README.md").exists(), reason="a project of `make new` has no results of the studies"
)


@needs_results
@pytest.mark.parametrize("study", STUDIES)
def test_the_committed_cells_have_one_protocol_and_their_variants_params(study: str) -> None:
    cells = {
        path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "studies/results" / study).glob("*.json"))
    }
    if not cells:
        pytest.skip("the cells of this study have not been committed")
    variants = yaml.safe_load((ROOT / f"studies/{study}.yaml").read_text())
    settings = TypeAdapter(Settings)
    groups: dict[tuple[Any, ...], list[Any]] = {}  # of cells with the same data and the same kind of network
    for name, values in cells.items():
        used = params_of(variants[name.rpartition("-")[0]])
        groups.setdefault((repr(used["prepare"]), used["train"]["conditional"]), []).append(values)
    for group in groups.values():
        seeds.summary(group)
    for name, values in cells.items():
        variant, _, seed = name.rpartition("-")
        used = cell.with_changes(params_of(variants[variant]), {"train": {"seed": int(seed)}})
        assert settings.validate_python(values["params"]) == settings.validate_python(used["train"]), name


def outputs(stage: dict[str, Any]) -> set[str]:
    """The paths of a stage's outputs."""
    outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in outs}


def test_the_emoji_study_has_every_stage_of_the_pipeline() -> None:
    assert list(EMOJI) == list(PIPELINE)


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_of_the_emoji_study_has_the_pipelines_files_in_its_own_folder(name: str) -> None:
    stage, files = EMOJI[name], {path for other in PIPELINE.values() for path in outputs(other)}
    artifacts_read = {path for path in PIPELINE[name]["deps"] if any(path.startswith(file) for file in files)}
    code = {path for path in stage["deps"] if path.startswith("stages/")}
    assert outputs(stage) == {f"studies/emoji/{path}" for path in outputs(PIPELINE[name])}
    read = {f"studies/emoji/{path}" for path in artifacts_read}
    assert set(stage["deps"]) - code == read | {"presets/emoji.yaml"}
    assert f"stages/{name}" in code
    assert stage["cmd"] == f"python -m stages.{name} ${{to}}"
    assert "params" not in stage, "`dvc exp show` would list them"


def test_an_unknown_variant_is_named_in_the_error() -> None:
    command = [sys.executable, "-m", "studies.cell", "recipe", "fancy", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: studies/recipe.yaml: no variant fancy; it has default, .*\n", done.stderr)


@pytest.mark.slow
def test_finished_seeds_are_not_run_again(tiny_copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_copy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    first = seeds.run_seeds(2)
    assert [r["params"]["seed"] for r in first] == [0, 1]
    assert first[0]["metrics"]["fid"] != first[1]["metrics"]["fid"]
    assert first[0]["metrics"] == metrics_of(tiny_copy.folder)
    monkeypatch.setattr(cell, "run", lambda *_: pytest.fail("the seed was run again"))
    assert seeds.run_seeds(2) == first


class Stages:
    """Fake stages that write the outputs which a cell reads, or fail. They record their calls."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.read_from: dict[str, Path] = {}
        self.failing = ""

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess:
        """Run a stage's command."""
        name, work = command[2].removeprefix("stages."), Path(command[-1])
        self.ran.append(name)
        self.read_from[name] = Path(command[command.index("--base") + 1])
        if name == self.failing:
            return subprocess.CompletedProcess(command, 1)
        if name == "train":
            facts = {"images_seen": 9, "best_images_seen": 9, "stopped": "", "flags": [], "environment": {}}
            networks = {network: {"parameters": 1} for network in ("generator", "discriminator")}
            artifacts.write_json(work / "models/model.json", facts | networks)
            (work / "models/generator.keras").write_text("a generator")
            (work / "reports/train/plots/metrics").mkdir(parents=True, exist_ok=True)
            (work / "reports/train/plots/metrics/score.tsv").write_text("step\tscore\n9\t1.5\n")
        else:
            for file, values in zip(files.FILES, ({"fid": 1.5}, {"fid_floor": 0.5}, {"samples": 9}), strict=True):
                (work / file).parent.mkdir(parents=True, exist_ok=True)
                artifacts.write_json(work / file, values)
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    """Fake stages instead of the real ones, in a folder with params and fake data."""
    for name in ("data/prepared/manifest.json", "models/features/features.json", "models/inception/inception.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "data/reference.npz").write_text("")
    (tmp_path / "params.yaml").write_text((ROOT / "presets/default.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    fake = Stages()
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


def cell_in(work: Path, **train: object) -> dict[str, Any]:
    """The result of a cell with these changes."""
    return cell.run(cell.variant_params({"train": train}), 0, work)


@pytest.fixture
def unevaluated(stages: Stages, tmp_path: Path) -> Path:
    """The folder of a cell that was trained but whose evaluation failed."""
    stages.failing = "evaluate"
    with pytest.raises(StageError, match="the stage evaluate failed; run the same command again to resume"):
        cell_in(tmp_path / "work")
    stages.ran, stages.failing = [], ""
    return tmp_path / "work"


def test_a_cell_whose_evaluation_failed_resumes_with_the_evaluation(stages: Stages, unevaluated: Path) -> None:
    assert cell_in(unevaluated)["scores"] == [{"images": 9, "score": 1.5}]
    assert stages.ran == ["evaluate"]
    cell_in(unevaluated)
    assert stages.ran == ["evaluate", "train", "evaluate"], (
        "a finished cell is run again, because DVC runs only stale cells"
    )


@pytest.mark.parametrize(
    "changed",
    ["params", "data/prepared/manifest.json", "work/models/generator.keras", "work/models/model.json", "work/trained"],
)
def test_a_cell_is_trained_again_after_params_data_or_outputs_have_changed(
    stages: Stages, unevaluated: Path, changed: str
) -> None:
    if changed != "params":
        (unevaluated.parent / changed).write_text("something else")
    cell_in(unevaluated, **{"batch_size": 64} if changed == "params" else {})
    assert stages.ran == ["train", "evaluate"]


def test_a_variant_with_other_data_prepares_it_once(stages: Stages, tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir()
    (tmp_path / "data/raw/source.json").write_text("{}")
    base = cell.variant_params({})
    assert cell.other_data(base, tmp_path / "study") == Path()
    thin = cell.variant_params({"prepare": {"thin": {"Sneaker": 0.2}}})
    folder = cell.other_data(thin, tmp_path / "study")
    assert stages.ran == ["prepare", "features"]
    assert params.read_file(folder / "params.yaml")["prepare"]["thin"] == {"Sneaker": 0.2}
    assert cell.other_data(thin, tmp_path / "study") == folder
    assert stages.ran == ["prepare", "features"]


def test_a_variant_can_be_trained_on_other_data_than_it_is_measured_by(stages: Stages, tmp_path: Path) -> None:
    (tmp_path / "few").symlink_to(tmp_path)
    cell.run(cell.variant_params({"train_on": {"max_images": 9}}), 0, tmp_path / "work", tmp_path / "few")
    assert stages.read_from == {"train": tmp_path / "few", "evaluate": Path()}


def test_a_failed_training_is_repeated_before_the_evaluation(stages: Stages, unevaluated: Path) -> None:
    stages.failing = "train"
    with pytest.raises(StageError, match="the stage train failed"):
        cell_in(unevaluated, batch_size=64)
    stages.ran, stages.failing = [], ""
    cell_in(unevaluated, batch_size=64)
    assert stages.ran == ["train", "evaluate"]


def results_of_seeds() -> list[Path]:
    return sorted(Path(".state/seeds").glob("*/*/result.json"))


def test_a_damaged_result_of_a_seed_is_computed_again(stages: Stages) -> None:
    first = seeds.run_seeds(2)
    torn = results_of_seeds()[0]
    content = torn.read_text()
    torn.write_text(content[:50])
    stages.ran = []
    assert seeds.run_seeds(2) == first
    assert stages.ran == ["train", "evaluate"]
    assert torn.read_text() == content


def test_a_result_of_a_seed_is_written_completely_or_not_at_all(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = artifacts.write_json

    def interrupted(path: Path, value: Any) -> None:
        write(path, value)
        if path.name == "result.json":
            path.write_text(path.read_text()[:50])
            raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        seeds.run_seeds(1)
    assert results_of_seeds() == []


def test_a_table_can_be_printed_on_an_ascii_terminal() -> None:
    command = [sys.executable, "-m", "studies.seeds", "--study", "recipe"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^fid +\d\S* \? \d", done.stdout, re.M)


def cells_of(fid: float, spread: float = 0.5, score: float | None = None, **metrics: float) -> list[dict[str, Any]]:
    """Three seeds of a variant, with scores that fall to `score` (by default the FID)."""
    cells = []
    for seed in range(3):
        value = fid + spread * (seed - 1)
        last = value if score is None else score
        cells.append(
            {
                "metrics": {
                    "fid": value,
                    "modes_covered": 10,
                    "mode_kl": value / 1000,
                    "recall": 0.5,
                    "checkerboard": 1.0,
                    "checkerboard_real": 0.9,
                    "protocol": {"samples": 5000},
                    **metrics,
                },
                "scores": [{"images": 1000, "score": 2 * last}, {"images": 2000, "score": last}],
                "flags": [],
                "images_seen": 2000,
                "parameters": {"discriminator": 10, "generator": 20},
                "environment": {"cores": 2, "processor": "one", "tensorflow": "2"},
            }
        )
    return cells


def finding(other: list[dict[str, Any]], metric: str = "fid", higher: bool = True) -> claims.Finding:
    variants = claims.gather({claims.BASE: cells_of(100), "other": other}, 110)
    return claims.decide(claims.Comparison("other", metric, higher, "words"), variants)


def test_a_clear_difference_supports_or_contradicts_by_its_direction() -> None:
    assert finding(cells_of(120)).verdict == "supported"
    assert finding(cells_of(80)).verdict == "contradicted"
    assert finding(cells_of(80), higher=False).verdict == "supported"
    assert re.fullmatch(r"120\.0 ± 0\.5 against 100\.0 ± 0\.5, p = \S+", finding(cells_of(120)).numbers)


def test_a_difference_within_the_spread_is_undecided() -> None:
    assert finding(cells_of(101, spread=20)).verdict == "undecided"
    assert finding(cells_of(100)).verdict == "undecided"
    assert finding(cells_of(100), "recall").verdict == "undecided", "all values are equal"
    assert finding(cells_of(100, recall=0.7), "recall").verdict == "supported", "no spread, but different means"


def test_a_score_never_reached_counts_as_more_images_if_all_seeds_agree() -> None:
    never = finding(cells_of(200, score=200), "images_to_reach")
    assert never.verdict == "supported"
    assert never.numbers.startswith("not reached against ")
    mixed = cells_of(200, score=200)[:2] + cells_of(100)[:1]
    assert finding(mixed, "images_to_reach").verdict == "undecided"


def test_the_images_to_reach_a_score_are_interpolated_linearly() -> None:
    scores = [{"images": 10, "score": 8.0}, {"images": 20, "score": 4.0}, {"images": 30, "score": 6.0}]
    assert [claims.images_to_reach(scores, threshold) for threshold in (9, 8, 6, 4, 3)] == [
        10,
        10,
        15,
        20,
        float("inf"),
    ]


def test_a_cell_that_ended_early_keeps_its_last_score(tmp_path: Path) -> None:
    results = {name: cells_of(100) for name in claims.CLAIMS[0].variants}
    first, other, _ = results[claims.BASE]
    first["scores"] = first["scores"][:1]
    other["scores"].append({"images": 2500, "score": 90.0})
    variants = claims.gather(results, 110)
    assert variants[claims.BASE].images == [1000, 2000, 2500]
    assert variants[claims.BASE].scores.tolist() == [[199.0] * 3, [200.0, 100.0, 90.0], [201.0, 100.5, 100.5]]
    assert variants[claims.BASE].values["images_to_reach"][0] == float("inf")
    claims.draw(claims.CLAIMS[0], variants, tmp_path / "x.svg")
    assert "not reached (2 of 3 did)" in claims.Metric("", ".1f").text(variants[claims.BASE].values["images_to_reach"])


def test_a_claims_verdict_follows_from_its_comparisons() -> None:
    def verdict(*verdicts: str) -> str:
        return claims.overall_verdict([claims.Finding(one, "", "") for one in verdicts])

    assert verdict("supported", "supported") == "supported"
    assert verdict("undecided") == "undecided at this budget"
    assert verdict("supported", "undecided") == "partly supported"
    assert verdict("contradicted", "undecided") == "contradicted or undecided"


def test_the_page_has_a_figure_a_table_and_a_verdict_for_every_claim(tmp_path: Path) -> None:
    names = yaml.safe_load((ROOT / "studies/claims.yaml").read_text())
    results = {name: cells_of(100 + 10 * i) for i, name in enumerate(names)}
    text = claims.render(results)
    assert text.count("](figures/") == len(claims.CLAIMS)
    for claim in claims.CLAIMS:
        assert f". {claim.title}\n" in text
        for variant in claim.variants:
            assert f"| `{variant}` | " in text
    assert {variant for claim in claims.CLAIMS for variant in claim.variants} == set(names), "every variant has a claim"
    assert "not yet run" not in text
    few = claims.render({name: results[name] for name in (claims.BASE, "loss_minimax")})
    assert few.count("](figures/") == 1
    assert few.count("| not yet run |") == len(claims.CLAIMS) - 1
    variants = claims.gather(results, 0)
    for name in ("a.svg", "b.svg"):
        claims.draw(claims.CLAIMS[2], variants, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@needs_results
def test_the_committed_page_matches_the_committed_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (ROOT / "studies/README.md").read_text() == claims.render(claims.complete_cells())
    drawn = {claim.name for claim in claims.complete_claims(claims.complete_cells())}
    assert {path.stem for path in (ROOT / "studies/figures").iterdir()} == drawn


def test_dvc_ignores_the_pipelines_of_the_studies_unless_it_runs_as_the_module_studies(tmp_path: Path) -> None:
    pipelines = [str(path.relative_to(ROOT)) for path in (ROOT / "studies").rglob("dvc.yaml")]
    for name in (".dvcignore", ".dvcignore-studies"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("dvc.yaml", *pipelines):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("stages: {one: {cmd: 'true', outs: [out]}}\n")

    def run(module: str, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    run("dvc", "init", "--no-scm", "--quiet")
    assert run("dvc", "stage", "list", "--all", "--name-only") == ["one"]
    listed = run("studies", "stage", "list", "--all", "--name-only")
    assert sorted(listed) == sorted(["one", *(f"{name}:one" for name in pipelines)])
