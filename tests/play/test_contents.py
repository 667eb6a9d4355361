"""The page's contents and words, without a browser."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.latent import latent
from stages.play import assembly, contents
from tests.play.pages import payload

PAGE = Path(assembly.__file__).parent / "page"
HOSTILE = '</script><script>harm()</script><b id="harm">"&'


def test_the_first_pictures_are_the_most_real_of_each_kind_then_the_most_real() -> None:
    outputs, kinds = np.array([0.1, 0.9, 0.8, 0.3, 0.7]), np.array([1, 0, 0, 2, 0])
    assert contents.most_real(outputs, kinds, 4) == [1, 3, 0, 2]


def test_a_strip_holds_the_pixels_exactly() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
    strip = contents.strip(images)
    with Image.open(io.BytesIO(base64.b64decode(strip["png"]))) as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(np.split(pixels, strip["count"], axis=1), images)


def test_the_classes_of_seeds_and_their_mean_z() -> None:
    found = contents.classes(("a", "b", "c"), 4, lambda z: (z[:, 0] > 0).astype(int))
    assert found is not None
    z = latent(range(contents.SEEDS), 4)
    digits = np.array([int(digit, 36) for digit in found["seeds"]])
    np.testing.assert_array_equal(digits, z[:, 0] > 0)
    mean = np.frombuffer(base64.b64decode(found["means"][1]), "<f4")
    np.testing.assert_allclose(mean, z[z[:, 0] > 0].mean(0), rtol=1e-5, atol=1e-6)
    assert found["means"][2] is None, "no sample falls into this class"


@pytest.fixture(scope="module")
def hostile_payload(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The payload of a page about data with a hostile title."""
    return payload(tmp_path_factory.mktemp("tables"), HOSTILE)


@pytest.fixture(scope="module")
def hostile(hostile_payload: dict[str, Any]) -> str:
    """The HTML of that page."""
    return assembly.render(hostile_payload)


def test_the_map_knows_the_seed_of_each_sample(hostile_payload: dict[str, Any]) -> None:
    judges_map = hostile_payload["page"]["map"]
    assert judges_map["first_seed"] == 1000
    assert judges_map["names"] == ["round", "square"]
    assert judges_map["samples"] == {"x": [0, 1, 2, 3], "y": [0, 1, 2, 0], "class": [0, 1, 0, 1]}


def test_an_empty_table_of_points_gives_no_map(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("kind,class,x,y\n")
    assert contents.judges_map(tmp_path / "points.csv", tmp_path / "protocol.json") is None


def test_every_text_is_in_both_languages_with_the_same_values() -> None:
    for key, texts in assembly.words().items():
        assert set(texts) == {"en", "zh"}, key
        values = [set(re.findall(r"\{(\w+)\}", texts[language])) for language in ("en", "zh")]
        assert values[0] == values[1], key
        assert all(text.strip() for text in texts.values()), key


def used_words() -> set[str]:
    """The keys of texts in the page's template and scripts. Keys that are made of parts, such as layer_…, are not."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.iterdir() if path.suffix in (".js", ".j2"))
    patterns = (r'say\("(\w+)"', r"words\.(\w+)\.", r'\bw\("(\w+)"\)', r'"(\w+)" : "\w+", \{', r'data-w-label="(\w+)"')
    return {key for pattern in patterns for key in re.findall(pattern, sources)}


def test_every_used_text_exists() -> None:
    assert not used_words() - set(assembly.words())


def test_no_text_is_unused() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.iterdir() if path.suffix in (".js", ".j2"))
    made = ("step_", "kind_", "about_", "layer_", "ends_", "end_")
    unused = {
        key for key in assembly.words() if not key.startswith(made) and not re.search(rf'["\'.]{key}["\'.]', sources)
    }
    assert not unused


def test_names_are_escaped(hostile: str) -> None:
    assert '<b id="harm"' not in hostile
    assert hostile.count("</script>") == 4, "the words, the payload, the worker and the script"


def test_the_policy_allows_nothing_from_elsewhere(hostile: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', hostile)
    sources = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert sources["default-src"] == "'none'"
    allowed = {word for value in sources.values() for word in value.split()}
    assert {word for word in allowed if not word.startswith("'sha256-")} <= {
        "'none'",
        "'wasm-unsafe-eval'",
        "blob:",
        "data:",
    }


def test_the_page_names_no_address(hostile: str) -> None:
    assert not re.search(r"(?:https?:)?//[\w-]+\.\w", hostile.replace("// ", ""))
    assert " style=" not in hostile, "the policy forbids it"
