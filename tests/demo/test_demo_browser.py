"""The demo page in a real browser: every action, by mouse, by keyboard, on a phone, in two languages."""

import functools
import io
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from demo.actions import words
from stages import artifacts
from tests.conftest import Project
from tests.demo.test_demo import bomb

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra .[slow] is not installed")
pytest.importorskip("gradio", reason="the extra .[demo] is not installed")

Page = Any
EN = words("en")
# A title with markup that the page must escape.
HOSTILE = "Tiny ${1+1} {{value}} <b id=harm>shapes</b> `x`"


@pytest.fixture(scope="module")
def address(versioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the versioned tiny project's page. Its data has a hostile title."""
    project = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(versioned, project)
    path = project / "data/prepared/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["source"]["title"] = HOSTILE
    path.unlink()  # it is a link into DVC's cache
    path.write_text(json.dumps(manifest))
    facts = json.loads((project / "models/model.json").read_text())
    (project / "models/model.json").unlink()
    (project / "models/model.json").write_text(json.dumps({**facts, "data_manifest_sha256": artifacts.sha256(path)}))
    command = [sys.executable, "-m", "demo", "--port", "0", "--no-browser"]
    process = subprocess.Popen(
        command, cwd=project, env=Project(project).environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if match := re.match(r"The page: (\S+)", line):
            break
    else:
        pytest.fail("".join(lines))
    yield match[1]
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page as a new user. Checks at the end that no user had an error and no request left this machine."""
    people, trouble = [], []

    def as_person(query: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1100, "height": 900}, **options})
        people.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: None if request.url.startswith((address, "data:")) else trouble.append(request.url),
        )
        page.goto(f"{address}/{query}")
        page.wait_for_selector("#tray button, #tray .message")
        return page

    yield as_person
    for context in people:
        context.close()
    assert not trouble


def turn_to(page: Page, tab: str) -> None:
    """Open a tab. On a narrow page it may be in the overflow menu."""
    name = re.compile(rf"^{words(page.url.split('/')[3])[tab]}$")
    shown = page.get_by_role("tab", name=name)
    if shown.count() and shown.first.is_visible():
        shown.first.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()


def shown(page: Page, selector: str) -> str:
    """The HTML of a part of the page, without Gradio's frame."""
    return str(page.inner_html(f"{selector} .prose"))


def changed(page: Page, selector: str, do: Callable[[], object]) -> str:
    """The HTML of a part of the page after `do` has changed it."""
    before = shown(page, selector)
    do()
    differs = "([s, old]) => document.querySelector(s).innerHTML !== old"
    page.wait_for_function(differs, arg=[f"{selector} .prose", before])
    return shown(page, selector)


def slide(page: Page, name: str, key: str = "ArrowRight") -> Callable[[], None]:
    """Move a slider by one key press."""
    return lambda: page.locator(f"#{name} input[type=range]").press(key)


def choose(page: Page, name: str, label: str) -> None:
    """Choose from a drop-down, which reacts to the mouse button going down."""
    page.click(f"#{name} input")
    page.get_by_role("option").filter(has_text=label).first.dispatch_event("mousedown")


def test_a_drawn_and_shuffled_sample_can_be_opened(opened: Callable[..., Page]) -> None:
    page = opened()
    page.wait_for_selector("#grid button")
    assert page.locator("#grid button").count() == 24
    changed(page, "#grid", lambda: page.click("#shuffle"))
    first = int(page.input_value("#first input"))
    changed(page, "#grid", slide(page, "count"))
    assert page.locator("#grid button").count() == 25
    changed(page, "#grid", slide(page, "spread"))
    clicked = page.locator("#grid button").nth(3)
    small = clicked.locator("img").get_attribute("alt")
    clicked.click()
    page.wait_for_selector("#picture img")
    assert page.input_value("#seed input") == str(first + 3)
    assert float(page.input_value("#scale input[type=number]")) == 1.05
    assert small == f"sample of seed {first + 3}"
    page.click("#alike")
    page.wait_for_selector("#found img")
    assert page.locator("#found img").count() == 8


def test_the_pictures_of_a_row_are_aligned(opened: Callable[..., Page]) -> None:
    page = opened()
    page.wait_for_selector("#grid button")
    for gallery in ("#tray", "#grid"):
        tops = sorted(image.bounding_box()["y"] for image in page.locator(f"{gallery} img").all())
        assert all(step == 0 or step > 40 for step in map(float.__sub__, tops[1:], tops)), tops


def test_the_picture_follows_the_sliders_and_can_be_reset(opened: Callable[..., Page]) -> None:
    page = opened("?tab=explore")
    page.wait_for_selector("#picture img")
    start = shown(page, "#picture")
    for number in range(1, 9):
        changed(page, "#picture", slide(page, f"direction-{number}"))
    assert "0;1:0.1;2:0.1" in shown(page, "#picture")
    changed(page, "#picture", lambda: page.click("#reset"))
    assert shown(page, "#picture") == start
    assert page.input_value("#direction-8 input[type=number]") == "0"


def test_at_most_twelve_pictures_can_be_pinned_and_each_unpinned(opened: Callable[..., Page]) -> None:
    page = opened("?tab=explore&place=40")
    for seed in range(40, 50):
        page.fill("#seed input", str(seed))
        page.wait_for_function("s => document.querySelector('#picture img').alt.endsWith(' ' + s)", arg=str(seed))
        changed(page, "#tray", lambda: page.click("#pin"))
    assert page.locator("#tray button").count() == 12
    assert EN["pins_full"] in page.inner_text("#tray")
    changed(page, "#tray", lambda: page.locator("#tray button").first.click())
    assert page.locator("#tray button").count() == 11
    for count in range(10, 0, -1):
        changed(page, "#tray", lambda: page.locator("#tray button").first.click())
        assert page.locator("#tray button").count() == count
    changed(page, "#tray", lambda: page.locator("#tray button").first.click())
    assert EN["pins_none"] in page.inner_text("#tray")


def test_a_path_and_its_animation_are_drawn(opened: Callable[..., Page]) -> None:
    page = opened("?tab=between")
    page.wait_for_selector("#path img")
    assert page.locator("#path img").count() == 10
    changed(page, "#path", slide(page, "way"))
    changed(page, "#path", lambda: choose(page, "end", "3 · 2"))
    page.click("#animate")
    page.wait_for_selector("#moving img")
    with page.expect_download() as saved:
        page.click("#moving a")
    assert saved.value.suggested_filename == "between.png"
    with Image.open(saved.value.path()) as moving:
        assert getattr(moving, "n_frames", 1) == 30
        assert moving.info["Description"].startswith("From 0 to 2 and back")


def test_sums_accept_pins_and_class_means(opened: Callable[..., Page]) -> None:
    page = opened("?tab=calculate&pins=7,8,9")
    page.wait_for_selector("#total img")
    assert page.locator("#total img").count() == 8
    choices = []
    page.locator("#a input").click()
    for option in page.get_by_role("option").all():
        choices.append(option.inner_text().strip("✓ \n"))
    page.keyboard.press("Escape")
    assert choices[:4] == ["1 · 7", "2 · 8", "3 · 9", "mean of disc"]
    assert "mean of <b>cross</b> & $x$" in choices, "shown literally"
    changed(page, "#total", lambda: choose(page, "a", "mean of stripes"))


def test_the_moment_of_the_training_can_be_moved(opened: Callable[..., Page]) -> None:
    page = opened("?tab=training")
    page.wait_for_selector("#history img")
    last = page.inner_text("#history p")
    earlier = changed(page, "#history", slide(page, "moment", "ArrowLeft"))
    assert "moment 1 of 2" in earlier
    assert "moment 2 of 2" in last


def upload(page: Page, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#upload")
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def test_an_upload_is_scored_and_a_bad_one_is_explained(opened: Callable[..., Page], tmp_path: Path) -> None:
    page = opened("?tab=judge")
    file = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(file, "PNG")
    good = file.getvalue()
    changed(page, "#verdict", lambda: upload(page, "good.png", good))
    for text in ("Probability of “real”", "1,000 samples of the generator", "held-out real images"):
        assert text in page.inner_text("#verdict")
    assert page.locator("#verdict img").count() == 9
    for name, content, reason in (
        ("words.txt", b"no picture at all", "reason_not_an_image"),
        ("torn.png", good[: len(good) // 2], "reason_truncated"),
        ("bomb.png", bomb(), "reason_too_large"),
        ("empty.png", b"", "reason_empty"),
    ):
        changed(page, "#verdict", functools.partial(upload, page, name, content))
        assert EN[reason] in page.inner_text("#verdict"), name
    large = tmp_path / "large.png"
    large.write_bytes(good + bytes(50 << 20))
    with page.expect_file_chooser() as chooser:
        page.click("#upload")
    chooser.value.set_files(large)
    page.wait_for_selector(".toast-body")
    assert "exceed the maximum allowed size of 20" in page.inner_text(".toast-body")
    changed(page, "#verdict", lambda: upload(page, "good.png", good))
    assert "Probability of “real”" in page.inner_text("#verdict"), "the server still works"


def test_the_layers_are_shown_and_a_matrix_can_be_edited(opened: Callable[..., Page]) -> None:
    page = opened("?tab=inside&place=3")
    page.wait_for_selector("#insides img")
    assert page.locator("#insides figure").count() >= 12
    assert page.locator("#worked td button").all_inner_texts() == [
        "91",
        "100",
        "88",
        "69",
        "91",
        "117",
        "44",
        "72",
        "74",
    ]
    changed(page, "#worked", lambda: page.locator("#worked td button").nth(8).click())
    assert page.inner_text("#worked .sum").endswith("= 74")
    changed(page, "#worked", lambda: page.fill("#kernel textarea", "1"))
    assert page.locator("#worked td button").all_inner_texts()[:4] == ["2", "7", "6", "9"]
    changed(page, "#worked", lambda: page.fill("#matrix textarea", "1 2\n3"))
    assert EN["convolution_wrong"] in page.inner_text("#worked")
    changed(page, "#worked", lambda: page.get_by_label(EN["kind_fractional"], exact=True).check())
    assert page.locator("#worked td button").count() == 25
    assert page.locator("#worked .zero").count() == 49 - 9


def test_a_link_restores_the_picture_for_another_user(opened: Callable[..., Page]) -> None:
    page = opened("?tab=explore")
    page.fill("#seed input", "77")
    page.wait_for_function("document.querySelector('#picture img').alt.endsWith(' 77')")
    changed(page, "#picture", slide(page, "direction-2"))
    changed(page, "#tray", lambda: page.click("#pin"))
    page.click("#copy")
    page.wait_for_function("location.search.includes('place')")
    link = page.url
    assert page.input_value("#link textarea") == link
    other = opened(link[link.index("?") :])
    other.wait_for_selector("#picture img")
    assert shown(other, "#picture") == shown(page, "#picture")
    assert shown(other, "#tray") == shown(page, "#tray")
    page.reload()
    page.wait_for_selector("#picture img")
    assert shown(page, "#picture") == shown(other, "#picture")


def test_another_revision_is_shown_side_by_side(opened: Callable[..., Page]) -> None:
    page = opened()
    page.wait_for_selector("#grid button")
    changed(page, "#grid", lambda: choose(page, "beside", "v1"))
    assert page.locator("#grid section").count() == 2
    assert page.locator("#grid section h3").all_inner_texts() == ["workspace", "v1"]
    alts = [page.locator(f"#grid section:nth-child({i}) img").first.get_attribute("alt") for i in (1, 2)]
    assert alts[0] == alts[1]
    changed(page, "#grid", lambda: choose(page, "model", "lively-fox"))
    assert page.locator("#grid section h3").all_inner_texts() == ["lively-fox", "v1"]
    broken = opened("?model=nowhere&beside=../..&first=-7&count=x&pins=a,b&place=9;9&tab=root")
    broken.wait_for_selector("#grid button")
    assert broken.locator("#grid button").count() == 24
    assert broken.input_value("#model input").startswith("workspace")


def reach(page: Page, selector: str) -> None:
    """Move the focus to an element with the Tab key only."""
    for _ in range(150):
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the Tab key never reaches {selector}")


def test_the_page_works_with_the_keyboard_alone(opened: Callable[..., Page]) -> None:
    page = opened()
    page.wait_for_selector("#grid button")
    reach(page, "#shuffle")
    changed(page, "#grid", lambda: page.keyboard.press("Enter"))
    reach(page, "#grid button")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#picture img")
    reach(page, "#pin")
    changed(page, "#tray", lambda: page.keyboard.press("Space"))
    reach(page, "#direction-1 input[type=range]")
    changed(page, "#picture", lambda: page.keyboard.press("ArrowRight"))
    reach(page, "#reset")
    changed(page, "#picture", lambda: page.keyboard.press("Enter"))
    page.reload()
    page.wait_for_selector("#grid button")
    reach(page, "#tab-between-button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#path img")
    reach(page, "#animate")
    page.keyboard.press("Enter")
    page.wait_for_selector("#moving img")


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_fits_on_a_phone(opened: Callable[..., Page], language: str, scheme: str) -> None:
    page = opened(locale=language, color_scheme=scheme, viewport={"width": 390, "height": 800})
    assert page.inner_text("h1") == words(language[:2])["title"]
    parts = {"explore": "#picture img", "between": "#path img", "calculate": "#total img", "training": "#history img"}
    parts |= {"judge": "#upload", "inside": "#insides img", "draw": "#grid img"}
    for tab in parts:
        turn_to(page, tab)
        page.wait_for_selector(parts[tab])
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    red, green, blue = map(
        int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    )
    assert (red + green + blue < 200) == (scheme == "dark")
    turn_to(page, "explore")
    page.locator("#direction-5").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#direction-5').scrollIntoView({block: 'end'})")
    box = page.locator("#picture img").bounding_box()
    assert box["y"] >= 0, "the picture stays visible beside the sliders"


def test_no_user_sees_another_users_pictures(opened: Callable[..., Page]) -> None:
    people = [opened("?tab=explore") for _ in range(3)]
    for turn in range(4):
        for number, page in enumerate(people):
            page.fill("#seed input", str(100 * number + turn))
        for number, page in enumerate(people):
            page.wait_for_function(
                "s => document.querySelector('#picture img').alt.endsWith(' ' + s)", arg=str(100 * number + turn)
            )
    for page in people:
        changed(page, "#tray", functools.partial(page.click, "#pin"))
    pins = [page.locator("#tray button").last.get_attribute("title") for page in people]
    assert pins == [f"unpin {100 * number + 3}" for number in range(3)]


def test_the_title_of_the_data_is_shown_literally(opened: Callable[..., Page]) -> None:
    page = opened()
    assert HOSTILE in page.inner_text("#about")
    assert page.locator("#harm").count() == 0


def test_a_saved_grid_has_a_description(opened: Callable[..., Page]) -> None:
    page = opened("?first=5&count=4")
    page.wait_for_selector("#grid button")
    with page.expect_download() as saved:
        page.click("#grid a.save")
    assert saved.value.suggested_filename == "seeds-5-8.png"
    with Image.open(saved.value.path()) as picture:
        assert picture.info["Description"] == "Samples of the seeds 5 to 8 in order, uncurated"


def ask(address: str, path: str, data: object = None) -> tuple[int, str]:
    """The status and the body of an answer, without a browser."""
    answer = requests.request("GET" if data is None else "POST", f"{address}{path}", json=data, timeout=30)
    return answer.status_code, answer.text


def test_requests_from_outside_the_page_get_no_other_files_or_models(address: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("L", (16, 16), 200).save(secret)
    for path in (str(secret), "/etc/passwd", "params.yaml", "models/generator.keras", "../params.yaml", ".git/config"):
        status, text = ask(address, f"/en/gradio_api/file={path}")
        assert status in (403, 404), (path, text[:200])
    status, text = ask(address, "/en/gradio_api/info")
    assert json.loads(text)["named_endpoints"] == {}
    config = json.loads(ask(address, "/en/config")[1])
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}

    def call(output: str, values: dict[str, object]) -> tuple[int, str]:
        """Run the event that draws this part of the page, with other values in some of its inputs."""
        event = next(event for event in config["dependencies"] if event["outputs"] == [ids[output]])
        parts = {part["id"]: part for part in config["components"]}
        names = {number: name for name, number in ids.items()}
        data = [values.get(names.get(i, ""), parts[i]["props"].get("value")) for i in event["inputs"]]
        return run(event["id"], data)

    def run(event: int, data: list[object]) -> tuple[int, str]:
        query = {"data": data, "fn_index": event, "session_hash": "somebody"}
        return ask(address, "/en/gradio_api/run/predict", query)

    load = next(event["id"] for event in config["dependencies"] if ["load"] in [t[1:] for t in event["targets"]])
    assert run(load, [])[0] == 200
    here: dict[str, object] = {"model": "workspace", "beside": ""}
    assert "data:image/png" in call("picture", here)[1]
    for name in ("early", "HEAD", "../..", "/etc", "--upload-pack=x", "main; ls"):
        answer = call("picture", {**here, "model": name})[1]
        assert "data:image/png" not in answer
        assert "served" not in answer, "no path of the server"
    for path in (str(secret), "/etc/passwd"):
        answer = call("verdict", {**here, "upload": {"path": path, "meta": {"_type": "gradio.FileData"}}})[1]
        assert "Probability" not in answer
        assert secret.exists()
    event = next(event for event in config["dependencies"] if event["outputs"] == [ids["verdict"]])
    body = {"data": [{"path": str(secret), "meta": {"_type": "gradio.FileData"}}], "fn_index": event["id"]}
    for kind in ("application/json", "APPLICATION/JSON", "text/plain", None):
        headers = {"Content-Type": kind} if kind else {}
        sent = requests.post(f"{address}/en/gradio_api/run/predict", json.dumps(body), headers=headers, timeout=30)
        assert sent.status_code == 403, kind
    sent = requests.post(f"{address}/en/gradio_api/run/predict", "{", timeout=30)
    assert sent.status_code == 400


def test_a_port_in_use_is_named_in_the_error(versioned: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "demo", "--port", port],
            cwd=versioned,
            env=Project(versioned).environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert f"error: --host 127.0.0.1 --port {port}: " in result.stderr
    assert "choose another" in result.stderr
