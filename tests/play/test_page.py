"""The playable page in a real browser: what a visitor does, by mouse, by keyboard, on a phone, in two languages."""

import io
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from stages.latent import Sampler, latent
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.pixels import to_uint8
from stages.play import assembly, packing, stage
from tests.play.pages import LATENT, SIZE, payload, tiny_generator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra .[slow] is not installed")

Page = Any
PIXELS = "id => [...document.getElementById(id).getContext('2d').getImageData(0, 0, {0}, {0}).data]".replace(
    "{0}", str(SIZE)
)
DESKTOP, PHONE = {"width": 1200, "height": 850}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a tiny page on the disk."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "play.html"
    path.write_text(assembly.render(payload(folder)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the tiny page of a conditional generator."""
    folder = tmp_path_factory.mktemp("conditional")
    path = folder / "play.html"
    path.write_text(assembly.render(payload(folder, conditional=True)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def transparent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the tiny page of a generator of transparent pictures."""
    folder = tmp_path_factory.mktemp("transparent")
    path = folder / "play.html"
    path.write_text(assembly.render(payload(folder, channels=4)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page as a new visitor. Checks at the end that there was no error and no request."""
    contexts, trouble = [], []

    def requested(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            trouble.append(request.url)

    def said(message: Any) -> None:
        if message.type == "error":
            trouble.append(message.text)

    def open_page(fragment: str = "", viewport: dict[str, int] = DESKTOP, of: str = address, **options: Any) -> Page:
        options = {"reduced_motion": "reduce", "locale": "en-US", **options}
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", requested)
        page.goto(of + fragment)
        page.wait_for_selector("html[data-ready]")
        page.wait_for_selector("#hero[data-drawn]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


@pytest.fixture(scope="module")
def functions(browser: Any, address: str) -> Iterator[Page]:
    """A page whose functions are called directly."""
    page = browser.new_page(reduced_motion="reduce")
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    yield page
    page.close()


def pixels(page: Page, canvas: str = "hero-canvas") -> np.ndarray:
    """The RGBA pixels of a canvas of the size of a sample."""
    return np.array(page.evaluate(PIXELS, canvas), np.uint8).reshape(SIZE, SIZE, 4)


def drawn(page: Page, work: Callable[[], Any]) -> np.ndarray:
    """The large picture after `work` has drawn it anew."""
    before = page.get_attribute("#hero", "data-drawn")
    work()
    page.wait_for_function("before => document.getElementById('hero').dataset.drawn !== before", arg=before)
    page.wait_for_timeout(60)
    return pixels(page)


def drag(page: Page, selector: str, dx: int, dy: int) -> None:
    """Drag from the middle of an element."""
    box = page.locator(selector).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()


def test_the_first_picture_is_that_of_keras(opened: Callable[..., Page]) -> None:
    picture = to_uint8(Sampler(tiny_generator())(latent([5], LATENT)))[0, ..., 0]
    shown = pixels(opened())
    assert np.abs(shown[..., 0].astype(int) - picture).max() <= 1


def test_dragging_changes_the_picture_and_reset_brings_it_back(opened: Callable[..., Page]) -> None:
    page = opened()
    first = pixels(page)
    moved = drawn(page, lambda: drag(page, "#hero", 90, -60))
    assert (moved != first).any()
    np.testing.assert_array_equal(drawn(page, lambda: page.click("#back")), first)


def test_the_keyboard_moves_walks_and_stops(opened: Callable[..., Page]) -> None:
    page = opened()
    page.emulate_media(reduced_motion="no-preference")
    page.focus("#hero")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#moved") == "moved 0.3 to the right, 0.0 up"
    page.keyboard.press("Space")
    first = int(page.get_attribute("#hero", "data-drawn"))
    page.wait_for_function("first => document.getElementById('hero').dataset.drawn > first + 20", arg=first)
    page.keyboard.press("Space")
    page.wait_for_timeout(150)
    stopped = page.get_attribute("#hero", "data-drawn")
    page.wait_for_timeout(300)
    assert page.get_attribute("#hero", "data-drawn") == stopped


def test_a_picture_of_the_wall_opens(opened: Callable[..., Page]) -> None:
    page = opened()
    page.wait_for_timeout(500)
    tile = pixels(page, "tile-3")
    np.testing.assert_array_equal(drawn(page, lambda: page.click("#tile-3")), tile)
    assert page.inner_text("#where") == "Seed 3"


def test_the_wall_works_by_keyboard(opened: Callable[..., Page]) -> None:
    page = opened()
    page.focus("#wall")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    name = page.locator(".tile.active").get_attribute("aria-label")
    drawn(page, lambda: page.keyboard.press("Enter"))
    assert page.inner_text("#where") == name


def test_a_class_fills_the_wall(opened: Callable[..., Page]) -> None:
    page = opened()
    page.get_by_role("button", name="square", exact=True).click()
    seed = int(re.sub(r"\D", "", page.locator("#tile-1").get_attribute("aria-label")))
    assert latent([seed], LATENT)[0, 0] > 0, "the class of the test's judge"


@pytest.mark.parametrize(
    ("attributes", "row"), [(None, [0, 0, 1]), ([[0, 0], [1, 0], [1, 1]], [1, 1])], ids=["classes", "attributes"]
)
def test_a_conditional_generator_draws_the_chosen_class(
    opened: Callable[..., Page], tmp_path: Path, attributes: list[list[int]] | None, row: list[int]
) -> None:
    settings = GeneratorSettings(latent_dim=LATENT, channels=4, initializer="he", class_norm=True)
    g = generator(SIZE, 1, settings, classes=len(row), attributes=bool(attributes))
    d = discriminator(SIZE, 1, DiscriminatorSettings(channels=4), classes=len(row))
    packed = payload(tmp_path)
    packed["facts"] |= {"classes": ["a, b", "c", "d"], "conditional": len(row), "attributes": attributes}
    packed["page"] |= {"start": None, "classes": None, "map": None}
    path = tmp_path / "play.html"
    path.write_text(assembly.render({**packed, **stage.networks((SIZE, SIZE, 1), g, d)}), encoding="utf-8")
    page = opened("#place=7", of=path.as_uri())
    expected = to_uint8(np.asarray(g([latent([7], LATENT), np.array([row], np.float32)], training=False)))[0, ..., 0]
    shown = drawn(page, lambda: page.get_by_role("button", name="d", exact=True).click())
    assert np.abs(shown[..., 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("act", ["drag", "walk"])
def test_a_link_restores_the_picture(opened: Callable[..., Page], act: str) -> None:
    page = opened()
    first = pixels(page)
    if act == "drag":
        drawn(page, lambda: drag(page, "#hero", 80, 50))
    else:
        page.emulate_media(reduced_motion="no-preference")
        page.click("#walk")
        page.wait_for_timeout(400)
        page.click("#walk")
    page.wait_for_timeout(700)  # the fragment is written when the hand rests
    fragment = page.evaluate("location.hash")
    restored = pixels(opened(fragment))
    assert np.abs(restored.astype(int) - pixels(page)).max() <= 1
    assert (restored != first).any()


NONSENSE = (
    *(
        "place=abc",
        "place=99999999999",
        "place=-1",
        "place=1.5",
        "place=zAAAA",
        "place=z!",
        "place=",
        "place=5&scale=9",
    ),
    *(
        "place=5&move=1,x",
        "place=5&move=7",
        "place=5&move=1,1,1,1,1,1,1,1,1",
        "place=5&class=x",
        "mix=1,2,3:x",
        "mix=1,2",
        "wall=x",
    ),
    *("<img src=x>", "%E0%A4%A", "lang=xx", "theme=1", "nowhere", "a" * 5000, "place=1e3", "=", "place=5&what=1"),
)


@pytest.mark.parametrize("fragment", NONSENSE)
def test_nonsense_in_a_link_is_noticed(functions: Page, fragment: str) -> None:
    said = functions.evaluate("text => readFragment(text, {latentSize: 8, labels: 0})", f"#{fragment}")
    assert said["wrong"]


def test_nonsense_in_a_link_is_ignored_with_a_note(opened: Callable[..., Page]) -> None:
    page = opened("#place=zAAAA&<img src=x>&lang=xx")
    assert "Part of this link" in page.inner_text("#note")
    width = "element => element.getBoundingClientRect().width"
    assert page.eval_on_selector(".stage", width) == page.eval_on_selector("body", width), "the note narrows nothing"
    assert page.inner_text("#where") == "Seed 5"


def test_a_link_keeps_the_class_of_each_picture(opened: Callable[..., Page], conditional: str) -> None:
    page = opened("#place=7&class=1", of=conditional)
    page.click("#tray button:nth-child(4)")  # as A
    page.evaluate("document.getElementById('share').click()")
    reopened = opened(page.evaluate("location.hash"), of=conditional)
    assert reopened.inner_text("#where") == "Seed 7, square"
    slots = [reopened.get_attribute(f".slot:nth-child({i})", "aria-label") for i in (1, 2, 3)]
    assert slots == ["A: Seed 3, square", "B: Seed 4, round", "C: Seed 6, round"]


def test_a_model_without_classes_ignores_those_of_a_link(opened: Callable[..., Page]) -> None:
    page = opened("#place=7&class=1&mix=1:1,2:0,3:1")
    assert not page.is_visible("#note")
    assert page.inner_text("#where") == "Seed 7"
    assert page.get_attribute(".slot", "aria-label") == "A: Seed 1"


def test_a_conditional_discriminator_judges_real_pictures_with_their_classes(
    opened: Callable[..., Page], conditional: str
) -> None:
    page = opened("#how", of=conditional)
    page.wait_for_selector("#how[data-told]")
    assert "real pictures" in page.inner_text("#answers-text")
    assert page.locator("#quiz button").count() == 8


def test_the_footer_says_which_pictures_are_picked(opened: Callable[..., Page], conditional: str) -> None:
    assert "those to mix are picked" in opened().inner_text("#facts")
    assert "No picture here is picked" in opened(of=conditional).inner_text("#facts")


def test_an_anchor_is_no_nonsense(opened: Callable[..., Page]) -> None:
    assert not opened("#how").is_visible("#note")


def saved(page: Page, button: str) -> bytes:
    """The file that a button saves."""
    page.wait_for_function("id => !document.getElementById(id).disabled", arg=button)
    with page.expect_download() as download:
        page.click(f"#{button}")
    return Path(download.value.path()).read_bytes()


def test_the_film_is_saved_as_gif(opened: Callable[..., Page]) -> None:
    page = opened()
    with Image.open(io.BytesIO(saved(page, "save-gif"))) as gif:
        assert (gif.format, getattr(gif, "n_frames", 1), gif.size) == ("GIF", 72, (256, 256))
        frame = np.asarray(gif.convert("L").resize((SIZE, SIZE), Image.Resampling.NEAREST))
    (first,) = to_uint8(Sampler(tiny_generator())(latent([5], LATENT)))[..., 0]  # A is the first picture
    assert np.abs(frame.astype(int) - first).max() <= 1


def test_the_film_is_saved_as_video_and_as_a_strip(opened: Callable[..., Page]) -> None:
    page = opened()
    with Image.open(io.BytesIO(saved(page, "save-strip"))) as strip:
        assert strip.size == (9 * 128 + 8 * 8, 128)
    assert saved(page, "save-webm").startswith(b"\x1a\x45\xdf\xa3"), "the first bytes of a WebM"


def test_a_film_of_transparent_pictures_has_the_ground_of_the_page(
    opened: Callable[..., Page], transparent: str
) -> None:
    page = opened(of=transparent)
    with Image.open(io.BytesIO(saved(page, "save-gif"))) as gif:
        frame = np.asarray(gif.convert("RGB").resize((SIZE, SIZE), Image.Resampling.NEAREST))
    (first,) = to_uint8(Sampler(tiny_generator(4))(latent([5], LATENT))).astype(float)
    alpha = first[..., 3:] / 255
    expected = first[..., :3] * alpha + np.array([0x0C, 0x0D, 0x10]) * (1 - alpha)
    assert np.abs(frame - expected).mean() < 12, "a GIF has at most 256 colours"


def test_a_picture_is_dragged_onto_a_slot(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator("#slots").scroll_into_view_if_needed()
    before = pixels(page, "sum")
    source = page.locator("#tray button").nth(2).bounding_box()
    target = page.locator(".slot").nth(1).bounding_box()
    page.mouse.move(source["x"] + 9, source["y"] + 9)
    page.mouse.down()
    page.mouse.move(target["x"] + 20, target["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_function("() => document.querySelectorAll('.slot')[1].getAttribute('aria-label') === 'B: Seed 8'")
    page.wait_for_timeout(300)
    assert (pixels(page, "sum") != before).any()


def test_both_maps_show_and_open_a_picture(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator("#map-view").scroll_into_view_if_needed()
    page.wait_for_function("() => document.getElementById('map-where').textContent.startsWith('Direction 1')")
    page.focus("#map-view")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(150)
    looked = pixels(page, "map-look")
    np.testing.assert_array_equal(drawn(page, lambda: page.keyboard.press("Enter")), looked)
    page.click("[data-map=judge]")
    page.hover("#map-view", position={"x": 20, "y": 200})
    assert re.fullmatch(r"Seed 100[0-3]\. (round|square)", page.inner_text("#map-where"))


def test_the_training_is_under_a_slider(opened: Callable[..., Page]) -> None:
    page = opened()
    assert page.inner_text("#moment-text") == "After 1,000 images"
    page.focus("#moment")
    page.keyboard.press("Home")
    assert page.inner_text("#moment-text") == "After 0 images"
    shown = page.evaluate(
        "[...document.querySelector('#moments canvas').getContext('2d').getImageData(0, 0, 16, 16).data]"
    )
    assert len(set(shown)) > 2, "a picture, not one black square"


def told(page: Page) -> None:
    page.locator("#how-title").scroll_into_view_if_needed()
    page.wait_for_selector("#how[data-told]")


def test_the_story_names_the_level_of_the_pixel(opened: Callable[..., Page]) -> None:
    page = opened()
    told(page)
    page.focus("#pixel-pick")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(150)
    numbers = re.search(r"\((\d+), (\d+)\).*level (\d+) of 255", page.inner_text("#pixel-text"))
    assert numbers
    x, y, level = map(int, numbers.groups())
    assert abs(int(pixels(page)[y - 1, x - 1, 0]) - level) <= 1


SHARES = """async (payload) => {
  const engine = await Engine.start(payload), layers = payload.generator.layers;
  const outputs = await engine.layers(latentOf(3, payload.facts.latentSize));
  const last = layers.reduce((best, {kind}, i) => (["transposed", "convolution"].includes(kind) ? i : best), 0);
  const {kernel, bias} = await engine.weights(last), {width, channels, data} = outputs[last];
  const errors = [[0, 0, 0], [5, 8, 1], [15, 15, 2], [9, 2, 0]].map(([y, x, c]) => {
    const {shares} = sharesAt(layers[last], kernel, outputs[layers[last].from[0]], y, x, c);
    return Math.abs(shares.reduce((a, b) => a + b, 0) + (bias ? bias[c] : 0) - data[(y * width + x) * channels + c]);
  });
  return Math.max(...errors);
}"""


@pytest.mark.parametrize("upsampling", ["transposed", "fractional", "resize"])
def test_the_shares_of_the_channels_add_up_to_the_pixel(functions: Page, upsampling: Any) -> None:
    g: keras.Model = generator(
        SIZE, 3, GeneratorSettings(latent_dim=LATENT, channels=4, upsampling=upsampling, initializer="he")
    )
    weights = packing.Weights()
    facts = {"latentSize": LATENT, "height": SIZE, "width": SIZE, "channels": 3}
    network = packing.network(g, (LATENT,), weights, Path("g"))
    packed = {"facts": facts, "generator": network, "weights": weights.base64()}
    assert functions.evaluate(SHARES, packed) < 1e-4


@pytest.mark.parametrize("kind", ["strided", "transposed", "fractional"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_grid_computes_convolutions(functions: Page, kind: str, stride: int) -> None:
    matrix, kernel = np.arange(25).reshape(5, 5) % 7, np.array([[3, 4, 4], [1, 0, 2], [-1, 0, 3]])
    field, step = matrix, stride if kind == "strided" else 1
    if kind == "transposed":
        field = np.pad(matrix, 2)
    elif kind == "fractional":
        field = np.zeros((4 * stride + 1,) * 2, int)
        field[::stride, ::stride] = matrix
        field = np.pad(field, 1)
    windows = np.lib.stride_tricks.sliding_window_view(field, (3, 3))[::step, ::step]
    arguments = [kind, matrix.tolist(), kernel.tolist(), stride]
    result = functions.evaluate("(arguments) => slide(...arguments).result", arguments)
    np.testing.assert_array_equal(result, (windows * kernel).sum((2, 3)))


def test_the_grid_follows_the_reader(opened: Callable[..., Page]) -> None:
    page = opened()
    plans_example = ["91", "100", "88", "69", "91", "117", "44", "72", "74"]
    assert page.locator("#grids button").all_inner_texts() == plans_example
    page.locator("#grids input").first.fill("3")
    assert page.locator("#grids button").first.inner_text() == "94"


def test_the_quiz_counts(opened: Callable[..., Page]) -> None:
    page = opened()
    told(page)
    page.wait_for_selector("#quiz button")
    page.locator("#quiz button").first.click()
    page.click("#quiz-check")
    assert re.fullmatch(r"You were right on [35] of 8, D on \d\.", page.inner_text("#quiz-text"))


def test_the_page_speaks_chinese_and_says_so_in_its_link(opened: Callable[..., Page]) -> None:
    page = opened(locale="zh-CN")
    assert (page.inner_text("#how-title"), page.evaluate("document.documentElement.lang")) == ("工作原理", "zh-CN")
    page.click("#language")
    assert page.inner_text("#how-title") == "How it works"
    assert "lang=en" in page.evaluate("location.hash")


@pytest.mark.parametrize("viewport", [PHONE, {"width": 768, "height": 1024}])
def test_nothing_is_wider_than_the_screen(opened: Callable[..., Page], viewport: dict[str, int]) -> None:
    page = opened(viewport=viewport, is_mobile=True, has_touch=True)
    told(page)
    assert page.evaluate("innerWidth") == viewport["width"], "a phone widens its window to what overflows"


def test_on_a_phone_the_picture_and_all_its_controls_are_on_one_screen(opened: Callable[..., Page]) -> None:
    page = opened(viewport=PHONE)
    for selector in ("#hero", "#dock"):
        box = page.locator(selector).bounding_box()
        assert box["y"] >= 0, selector
        assert box["y"] + box["height"] <= PHONE["height"], selector
    hero, dock = (page.locator(selector).bounding_box() for selector in ("#hero", "#dock"))
    assert hero["y"] + hero["height"] <= dock["y"]


def test_with_reduced_motion_nothing_moves_by_itself(opened: Callable[..., Page]) -> None:
    page = opened()
    first = page.get_attribute("#hero", "data-drawn")
    page.wait_for_timeout(500)
    assert page.get_attribute("#hero", "data-drawn") == first


def test_a_damaged_page_says_so(browser: Any, tmp_path: Path) -> None:
    packed = payload(tmp_path)
    packed["weights"] = packed["weights"][:4000]
    (tmp_path / "damaged.html").write_text(assembly.render(packed), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "damaged.html").as_uri())
    page.wait_for_selector("#note:not([hidden])")
    assert "incomplete" in page.inner_text("#note")
    page.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which npm fetches."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "axe-core@4"]
    if subprocess.run(command, capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("npm cannot fetch axe-core")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(opened: Callable[..., Page], axe: str, theme: str) -> None:
    page = opened(f"#theme={theme}")
    told(page)
    page.evaluate(f"{axe}; 0")
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(finding["id"], [node["target"] for node in finding["nodes"]]) for finding in violations] == []
