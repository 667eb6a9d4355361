"""The demo page without a browser: its state, its revisions and its pictures."""

import base64
import dataclasses
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo import __main__ as command
from demo import convolutions, drawing, revisions
from demo.actions import LANGUAGES, Actions, words
from demo.models import Model, Models
from demo.revisions import WORKSPACE, Revision
from demo.state import DIRECTIONS, MAX_MOVE, MAX_SCALE, MAX_SEED, Place, State, place_at, place_of
from stages import artifacts, records
from stages.errors import StageError
from stages.latent import latent, slerp
from stages.pixels import to_uint8
from tests.conftest import CLASSES, Project, dvc, git
from tests.image_files import png

PLACES = st.builds(
    Place,
    st.integers(0, MAX_SEED),
    st.integers(0, 60).map(lambda steps: float(f"{steps * MAX_SCALE / 60:g}")),
    st.tuples(*[st.integers(-60, 60).map(lambda steps: float(f"{steps * MAX_MOVE / 60:g}"))] * DIRECTIONS),
)


@given(PLACES)
def test_a_place_can_be_read_back_from_its_text(place: Place) -> None:
    assert place_of(str(place)) == place


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1.5", "4294967296", "1*4", "1*-1", "1*nan", "1;9:1", "1;1:7", "1;1:x", "1;1", "1*", "1;;", "٣"],
)
def test_an_invalid_text_gives_no_place(text: str) -> None:
    assert place_of(text) is None


def test_a_place_scales_and_moves_the_z_of_its_seed() -> None:
    directions = np.eye(DIRECTIONS, 20, dtype=np.float32)
    z = Place(7, 0.5, (2.0, 0, 0, 0, 0, 0, 0, -1.0)).z(directions)
    expected = latent([7], 20)[0] * np.float32(0.5)
    expected[0] += 2
    expected[7] -= 1
    assert np.array_equal(z, expected)
    assert Place(7, 1, (1.0,) * DIRECTIONS).z(directions[:3, :3]).shape == (3,), "moves without a direction"


@given(
    st.builds(
        State,
        model=st.text(),
        beside=st.text(),
        tab=st.sampled_from(["draw", "inside"]),
        pins=st.lists(PLACES, max_size=12).map(tuple),
        first=st.integers(0, MAX_SEED),
        count=st.integers(1, 64),
        place=PLACES,
        start=st.text(),
        way=st.integers(0, 100).map(lambda percent: percent / 100),
        moment=st.integers(1, 10**6),
    )
)
def test_a_link_restores_the_state(state: State) -> None:
    query = {name: values[0] for name, values in parse_qs(state.query(), keep_blank_values=True).items()}
    assert State.from_query(query) == state


@given(st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(State)]), st.text()))
def test_any_link_gives_a_state_within_its_bounds(query: dict[str, str]) -> None:
    state = State.from_query(query)
    assert state.tab in ("draw", "explore", "between", "calculate", "training", "judge", "inside")
    assert 0 <= state.first <= MAX_SEED
    assert 1 <= state.count <= 64
    assert 0 <= state.spread <= MAX_SCALE
    assert 0 <= state.way <= 1
    assert len(state.pins) <= 12


def test_invalid_values_from_a_browser_become_the_defaults() -> None:
    assert place_at("x", None, [99, float("nan"), 1]) == Place(0, 1.0, (0, 0, 1))
    assert State.checked(first=-1, count=1e9, spread="wide", way=None, tab="../", moment=0) == State()


def test_both_languages_have_the_same_texts_and_the_code_uses_each() -> None:
    texts = {language: words(language) for language in LANGUAGES}
    names = {
        language: {name: set(re.findall(r"{\w+}", text)) for name, text in texts[language].items()}
        for language in LANGUAGES
    }
    assert names["en"] == names["zh"]
    code = "".join(path.read_text() for path in Path(drawing.__file__).parent.glob("*.py"))
    computed = ("kind_", "about_", "reason_")
    for name in texts["en"]:
        assert f'"{name}"' in code or name.startswith(computed), f"{name} is unused"


def test_the_strided_example_gives_the_numbers_computed_by_hand() -> None:
    computed = convolutions.convolve("strided", *map(convolutions.matrix_of, convolutions.EXAMPLES["strided"]))
    assert computed.result.tolist() == [[91, 100, 88], [69, 91, 117], [44, 72, 74]]
    assert computed.window(5) == (slice(2, 5), slice(4, 7))


def test_the_other_two_convolutions_turn_3_x_3_into_5_x_5_with_different_zeros() -> None:
    matrix, kernel = convolutions.matrix_of("1 2 3\n4 5 6\n7 8 9"), convolutions.matrix_of("1 0 2\n0 3 0\n4 0 5")
    transposed, fractional = (convolutions.convolve(kind, matrix, kernel) for kind in ("transposed", "fractional"))
    # By hand: in the corner the kernel's last number meets the matrix's first, 5 · 1. In the middle they all meet.
    assert transposed.result[0, 0] == 5
    assert transposed.result[2, 2] == 1 * 1 + 2 * 3 + 3 * 5 + 4 * 7 + 5 * 9
    # As in tests/networks/test_networks.py.
    assert fractional.result.tolist() == [
        [3, 0, 6, 0, 9],
        [0, 46, 0, 58, 0],
        [12, 0, 15, 0, 18],
        [0, 82, 0, 94, 0],
        [21, 0, 24, 0, 27],
    ]
    assert transposed.own.sum() == fractional.own.sum() == 9
    assert transposed.own[2:5, 2:5].all()
    assert fractional.own[1::2, 1::2].all()


@pytest.mark.parametrize("text", ["", "1 2\n3", "a", "1 inf", " ".join("1" * 10), "\n".join("1" * 10)])
def test_a_text_that_is_not_a_matrix_is_rejected(text: str) -> None:
    with pytest.raises(StageError):
        convolutions.matrix_of(text)


def test_a_kernel_larger_than_the_matrix_and_an_unknown_convolution_are_rejected() -> None:
    for kind, kernel in (("strided", np.ones((3, 3), np.float32)), ("dilated", np.ones((1, 1), np.float32))):
        with pytest.raises(StageError):
            convolutions.convolve(kind, np.ones((2, 2), np.float32), kernel)


@pytest.fixture(scope="module")
def actions(tiny: Project) -> Iterator[Actions]:
    """The actions on the tiny project's model, in English."""
    models = Models(tiny.folder)
    yield Actions(models, words("en"))
    models.close()


def pictures(html: str) -> list[np.ndarray]:
    """The PNGs in the data URLs of `src`, as uint8."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))
        for code in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]


HERE = State(model=WORKSPACE)


def test_the_grid_shows_the_samples_of_its_seeds(actions: Actions, tiny: Project) -> None:
    model = actions._models.get(WORKSPACE)
    drawn = pictures(actions.draw(dataclasses.replace(HERE, first=5, count=3)))
    expected = to_uint8(model.sampler(latent(range(5, 8), 100)))[..., 0]
    assert len(drawn) == 3
    assert np.abs(np.stack(drawn).astype(int) - expected).max() <= 1


def test_a_saved_picture_holds_its_provenance(actions: Actions) -> None:
    html = actions.explore(dataclasses.replace(HERE, place=Place(9, 0.8, (0, 1.5, *[0.0] * 6))))
    saved = re.search(r'download="seed-9.png" href="data:image/png;base64,([^"]+)"', html)
    assert saved
    picture = Image.open(io.BytesIO(base64.b64decode(saved[1])))
    assert picture.size == (320, 320)
    assert "9*0.8;2:1.5" in picture.info["Description"]
    assert actions._models.get(WORKSPACE).sha256 in picture.info["Source"]


def test_pictures_with_alpha_keep_it_and_the_page_shows_it_on_a_checkerboard() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 12, 4)).astype(np.float32)
    for html in (drawing.row(images, ["a", "b"]), drawing.choices(images, ["a", "b"])):
        addresses = re.findall(r'<img src="data:image/png;base64,([^"]+)"', html)
        drawn = [np.asarray(Image.open(io.BytesIO(base64.b64decode(address)))) for address in addresses]
        assert np.array_equal(np.stack(drawn), to_uint8(images))
    style = Path(drawing.__file__).with_name("page.css").read_text()
    assert re.search(r"img \{[^}]*background: repeating-conic-gradient", style)


def test_a_path_runs_from_start_to_end_and_its_animation_returns(actions: Actions) -> None:
    model = actions._models.get(WORKSPACE)
    state = dataclasses.replace(HERE, start="1", end="2*0.5", way=0.25)
    *strip, large = pictures(actions.between(state))
    ends = np.stack([Place(1).z(model.directions), Place(2, 0.5).z(model.directions)])
    for picture, z in zip((strip[0], strip[-1]), ends, strict=True):
        assert np.abs(picture.astype(int) - to_uint8(model.sampler(z[None]))[0, ..., 0]).max() <= 1
    quarter = to_uint8(model.sampler(slerp(ends[0], ends[1], 101)[25:26]))[0, ..., 0]
    assert np.abs(large[::20, ::20].astype(int) - quarter).max() <= 1
    moving = re.search(r'src="data:image/png;base64,([^"]+)"', actions.animation(state))
    assert moving
    frames = Image.open(io.BytesIO(base64.b64decode(moving[1])))
    assert frames.n_frames == 30  # type: ignore[attr-defined]


def test_terms_of_a_sum_are_pins_or_class_means_and_an_undefined_sum_is_reported(actions: Actions) -> None:
    model = actions._models.get(WORKSPACE)
    state = dataclasses.replace(HERE, a="1", b="2", c="3")
    assert len(pictures(actions.calculate(state))) == 8
    z = latent([1, 2, 3], 100)
    total = z[0] - z[1] + z[2]
    expected = to_uint8(model.sampler((total * np.sqrt(100) / np.linalg.norm(total))[None].astype(np.float32)))
    assert np.abs(pictures(actions.calculate(state))[3].astype(int) - expected[0, ..., 0]).max() <= 1
    held = [i for i, mean in enumerate(model.class_means) if np.isfinite(mean).all()]
    missed = [i for i in range(len(CLASSES)) if i not in held]
    assert held
    assert missed, "the tiny generator has few classes"
    mean = f"class:{held[0]}"
    assert len(pictures(actions.calculate(dataclasses.replace(HERE, a=mean, b="1", c=mean)))) == 8
    for a, b, c in ((f"class:{missed[0]}", "1", "2"), ("1", "1", "2*0")):
        assert "This sum has no direction" in actions.calculate(dataclasses.replace(HERE, a=a, b=b, c=c))
    for end in ("class:9", "class:-1", "class:x", "", "/etc/passwd"):
        assert "there is no" in actions.calculate(dataclasses.replace(HERE, a=end, b="1", c="2"))


def test_the_nearest_neighbour_of_a_training_image_is_itself(actions: Actions, tiny: Project) -> None:
    model = actions._models.get(WORKSPACE)
    assert model.data
    image = records.images_at(tiny.folder / "data/prepared", model.data, "train", [123])[0]
    neighbours, searched = model.nearest(image, 3)
    assert searched == 320
    assert neighbours.shape == (3, 16, 16, 1)
    assert np.array_equal(neighbours[0], image)


def test_an_upload_is_prepared_like_the_training_images_scored_and_deleted(actions: Actions, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    html = actions.score(HERE, path)
    assert not path.exists()
    assert re.search(r"Probability of “real”: 0\.\d{3}", html)
    assert "of 1,000 samples" in html
    assert "of 80 held-out real images" in html
    assert pictures(html)[0].shape == (16, 16)
    for content, reason in ((b"", "empty"), (b"no picture", "not_an_image"), (bomb(), "too_large")):
        path.write_bytes(content)
        assert f"This file cannot be used ({reason})" in actions.score(HERE, path)
        assert not path.exists()


def bomb() -> bytes:
    """A valid PNG of 30,000 × 30,000 black pixels in under a megabyte."""
    return png(30_000, 30_000, 1, 0, bytes(30_000 * 3751))


def test_data_prepared_with_settings_of_another_version_are_reported(tiny_copy: Project, tmp_path: Path) -> None:
    data, facts = tiny_copy.folder / "data/prepared/manifest.json", tiny_copy.folder / "models/model.json"
    manifest = json.loads(data.read_text())
    data.write_text(json.dumps({**manifest, "params": {**manifest["params"], "sharpen": 3}}))
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "data_manifest_sha256": artifacts.sha256(data)}))
    path = tmp_path / "x.png"
    Image.new("L", (20, 20)).save(path)
    models = Models(tiny_copy.folder)
    html = Actions(models, words("en")).score(HERE, path)
    models.close()
    assert "params.sharpen: " in html
    assert "another version" in html


def test_each_layer_is_shown_with_its_shape(actions: Actions) -> None:
    html = actions.inside(HERE)
    for shape in ("4 × 4 × 8", "8 × 8 × 4", "16 × 16 × 1", "4 × 4 × 8"):
        assert shape in html
    assert "z: 100 numbers" in html


def test_a_missing_file_is_reported_by_the_actions_that_need_it(tiny: Project, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(tiny.folder / "models/generator.keras", tmp_path / "models")
    models = Models(tmp_path)
    some = Actions(models, words("en"))
    assert len(pictures(some.draw(HERE))) == 24
    assert "was trained on pictures" in some.about(HERE)
    assert some.moments(HERE) == 1
    assert [value for _, value in some.ends(HERE)] == ["0", "1", "2"], "no classes"
    for action in (some.training, some.inside):
        assert "cannot be shown: models/" in action(HERE), "without the folder on this machine"
        assert "`dvc pull` to download it" in action(HERE)
    assert "are not in data/prepared" in some.nearest(HERE)
    models.close()


@pytest.mark.parametrize(
    ("protocol", "fid"),
    [
        ({"floor_samples": 100, "samples": 100}, "FID 45.6 (real images: 12)"),
        ({"floor_samples": 99, "samples": 100}, "FID 45.6"),
        ({}, "FID 45.6"),
    ],
)
def test_the_fid_of_real_images_is_shown_only_if_they_are_as_many_as_the_samples(
    actions: Actions, monkeypatch: pytest.MonkeyPatch, protocol: dict[str, int], fid: str
) -> None:
    metrics = {"fid": 45.61, "fid_floor": 12.04, "protocol": protocol}
    monkeypatch.setattr(actions._models.get(WORKSPACE), "metrics", metrics)
    assert fid in [part.strip() for part in actions.about(HERE).split(" · ")]
    chinese = Actions(actions._models, words("zh")).about(HERE)
    assert ("FID 45.6（真实图片：12）" in chinese) == ("12" in fid)


def test_a_licence_is_shown_if_it_is_stated(actions: Actions, monkeypatch: pytest.MonkeyPatch) -> None:
    data = actions._models.get(WORKSPACE).data
    assert data
    for licence, source in (("MIT", "Cats (MIT)."), ("not stated", "Cats.")):
        stated = dataclasses.replace(data, source={**data.source, "title": "Cats", "licence": licence})
        monkeypatch.setattr(Model, "data", stated)
        assert f"was trained on {source}" in actions.about(HERE)


@pytest.mark.parametrize("name", ["", "HEAD", "main", "../..", "workspace/"])
def test_only_an_offered_model_is_opened(actions: Actions, name: str) -> None:
    with pytest.raises(StageError, match="is offered"):
        actions._models.get(name)


def test_a_branch_whose_name_is_not_utf_8_is_offered_with_escapes(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").touch()
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "dvc.lock")
    git(tmp_path, "commit", "-q", "-m", "one")
    subprocess.run([b"git", b"branch", b"caf\xe9"], cwd=tmp_path, check=True)
    offered = revisions.offered(tmp_path)
    assert {name: revision.kind for name, revision in offered.items()} == {"main": "branch", "caf\\xe9": "branch"}
    assert offered["caf\\xe9"].commit == offered["main"].commit


def test_a_tag_hides_a_branch_of_its_name_and_both_hide_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").touch()
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "dvc.lock")
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "branch", "both")
    git(tmp_path, "tag", "both")
    for name in ("both", "main", "zeta"):
        git(tmp_path, "update-ref", f"refs/exps/01/{'2' * 38}/{name}", "HEAD")
    kinds = {name: revision.kind for name, revision in revisions.offered(tmp_path).items()}
    assert list(kinds.items()) == [("both", "tag"), ("main", "branch"), ("zeta", "experiment")]


def test_outside_a_git_repository_no_revision_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revisions.offered(tmp_path) == {}


def test_a_copy_of_a_revision_is_complete_and_never_changes(
    tiny: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []

    def fetch(project: Path, revision: Revision, files: object, folders: object, target: Path) -> None:
        copies.append(target)
        (target / "models").mkdir(parents=True, exist_ok=True)
        (target / "models/generator.keras").write_bytes(b"torn")
        if len(copies) == 1:
            raise StageError("the network is gone")
        shutil.copy(tiny.folder / "models/generator.keras", target / "models")

    monkeypatch.setattr(revisions, "fetch", fetch)
    monkeypatch.setattr(revisions, "offered", lambda project: {"v1": Revision("v1", "tag", "0123456")})
    models = Models(tmp_path)
    with pytest.raises(StageError, match="the network is gone"):
        models.get("v1")
    first = models.get("v1")
    models._loaded.clear()  # as if four other models had been used since
    assert models.get("v1") is not first
    assert len(copies) == 2, "another user may still read the copy"
    models.close()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("a.b", "a.b")])
def test_the_printed_address_is_valid_in_a_browser(host: str, shown: str) -> None:
    assert command._in_address(host) == shown


OWN, FOREIGN = "127.0.0.1:7860", "evil.example:7860"


@pytest.fixture(scope="module")
def loopback(tiny: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of the tiny project's page, which is served only to this machine."""
    pytest.importorskip("gradio", reason="the extra .[demo] is not installed")
    from fastapi.testclient import TestClient

    from demo import server

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        with server.application(tiny.folder, command._LOOPBACK) as application:
            yield TestClient(application)


@pytest.mark.parametrize(
    ("host", "status"), [(OWN, 200), ("localhost", 200), ("[::1]:7860", 200), (FOREIGN, 400), ("127.0.0.1.evil", 400)]
)
def test_a_page_served_only_to_this_machine_rejects_other_host_names(loopback: Any, host: str, status: int) -> None:
    # The owner of a domain can make it resolve to 127.0.0.1 and read what the page answers under that name.
    assert loopback.get("/en/config", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [(None, 200), (f"http://{OWN}", 200), (f"http://{FOREIGN}", 403), ("http://127.0.0.1:1", 403), ("null", 403)],
)
def test_other_sites_pages_cannot_call_an_action(loopback: Any, origin: str | None, status: int) -> None:
    config = loopback.get("/en/config", headers={"Host": OWN}).json()
    load = next(event["id"] for event in config["dependencies"] if ["load"] in [t[1:] for t in event["targets"]])
    headers = {"Host": OWN} | ({"Origin": origin} if origin else {})
    query = {"data": [], "fn_index": load, "session_hash": "somebody"}
    assert loopback.post("/en/gradio_api/run/predict", json=query, headers=headers).status_code == status


@pytest.mark.slow
def test_only_tags_branches_and_experiments_of_git_are_offered(versioned: Path) -> None:
    offered = revisions.offered(versioned)
    assert {name: revision.kind for name, revision in offered.items()} == {
        "v1": "tag",
        "main": "branch",
        "other": "branch",
        "lively-fox": "experiment",
    }
    assert offered["v1"].commit == git(versioned, "rev-parse", "v1")


@pytest.mark.slow
def test_two_revisions_are_shown_side_by_side_on_the_same_z(versioned: Path) -> None:
    models = Models(versioned)
    both = Actions(models, words("en"))
    html = both.draw(dataclasses.replace(HERE, model="v1", beside="other", count=2))
    a, b, c, d = pictures(html)
    z = latent(range(2), 100)
    for name, drawn in (("v1", (a, b)), ("other", (c, d))):
        expected = to_uint8(models.get(name).sampler(z))[..., 0]
        assert np.abs(np.stack(drawn).astype(int) - expected).max() <= 1
    assert not np.array_equal(a, c)
    assert "<h3>v1</h3>" in html
    # The revisions have the same data, so the project's folder has the nearest images of them too.
    assert len(pictures(both.nearest(dataclasses.replace(HERE, model="other", beside="lively-fox")))) == 16
    assert models.get("v1").classes == tuple(CLASSES)
    models.close()


@pytest.mark.slow
def test_a_revision_is_fetched_from_the_remote_and_a_missing_remote_is_reported(
    versioned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc(versioned, "push", "--all-commits")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(versioned), str(clone))
    git(clone, "branch", "other", "origin/other")
    models = Models(clone)
    assert set(models.offered()) == {"v1", "main", "other"}, "models/ is empty"
    assert models.get("other").sampler.shape == (16, 16, 1)
    models.close()
    shutil.rmtree(versioned / "dvc-remote")
    models = Models(clone)
    with pytest.raises(StageError, match=r"other \([0-9a-f]{7}\): .*`dvc pull`"):
        models.get("other")
    models.close()
