"""The page of `make demo` in a real browser: two models, what needs Python, keyboard, phone, and axe."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import model as models_of_python
from stages.latent import latent
from stages.pixels import to_uint8
from tests.demo.test_demo import Site, picture_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
pytest.importorskip("playwright.sync_api", reason="the extra .[slow] is not installed")

Page = Any
PIXELS = "s => [...document.querySelector(s).getContext('2d').getImageData(0, 0, 16, 16).data]"


@pytest.fixture(scope="module")
def served(versioned: Path) -> Iterator[Site]:
    """The server of a project with three revisions."""
    running = Site(versioned)
    yield running
    running.close()


@pytest.fixture
def opened(browser: Any, served: Site) -> Iterator[Callable[..., Page]]:
    """Open the page. Checks at the end that there was no error, and no request to anywhere else."""
    contexts, trouble = [], []

    def open_page(query: str = "", width: int = 1280, height: int = 800) -> Page:
        size = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=size, reduced_motion="reduce", locale="en-US"))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        own = (served.address, "blob:", "data:")
        page.on("request", lambda request: None if request.url.startswith(own) else trouble.append(request.url))
        page.goto(f"{served.address}/{query}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble


def test_two_models_draw_the_same_z(opened: Callable[..., Page], served: Site) -> None:
    page = opened("?second=other#place=7")
    page.wait_for_selector("#hero-second[data-drawn]")
    page.wait_for_timeout(300)
    for name, canvas in (("workspace", "#hero-canvas"), ("other", "#hero-second canvas")):
        expected = to_uint8(served.models.get(name).python().sampler(latent([7], 100)))[0, ..., 0]
        shown = np.array(page.evaluate(PIXELS, canvas)).reshape(16, 16, 4)[..., 0]
        assert np.abs(shown - expected.astype(int)).max() <= 1, name
    assert page.locator(".hero .name").all_inner_texts() == ["workspace", "other"]


def test_another_model_keeps_the_picture(opened: Callable[..., Page]) -> None:
    page = opened("#place=7")
    page.select_option("#model", "v1")
    page.wait_for_url("**/?model=v1#place=7*")
    page.wait_for_selector("html[data-ready]")
    assert page.inner_text("#where") == "Seed 7"


def test_an_upload_is_judged_inverted_and_explored(opened: Callable[..., Page]) -> None:
    page = opened()
    page.click("#nearest-find")
    page.wait_for_selector("#nearest-found img")
    page.set_input_files("#own-file", {"name": "x.png", "mimeType": "image/png", "buffer": picture_file()})
    page.wait_for_selector("#own-found .verdict")
    page.click("#own-invert")
    page.wait_for_selector("#own-sample img", timeout=60_000)
    page.click("#own-sample button")
    assert page.inner_text("#where") == "A place between seeds"


def test_a_file_that_is_no_picture_is_explained(opened: Callable[..., Page]) -> None:
    page = opened()
    page.set_input_files("#own-file", {"name": "x.png", "mimeType": "image/png", "buffer": b"words"})
    page.wait_for_selector("#own-found .trouble")
    assert "is not a picture" in page.inner_text("#own-found")


def test_a_server_that_stops_during_a_search_is_reported(
    opened: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(models_of_python.Model, "invert", stops)
    page = opened()
    page.set_input_files("#own-file", {"name": "x.png", "mimeType": "image/png", "buffer": picture_file()})
    page.wait_for_selector("#own-found .verdict")
    page.click("#own-invert")
    page.wait_for_selector("#own-sample .trouble")
    assert "The server does not answer" in page.inner_text("#own-sample")


def test_a_model_that_needs_a_class_is_not_compared_with_one_without(opened: Callable[..., Page]) -> None:
    page = opened()

    def with_classes(route: Any) -> None:
        answer = route.fetch().json()
        route.fulfill(json={**answer, "facts": {**answer["facts"], "conditional": 4}})

    page.route("**/payload*", with_classes)
    page.select_option("#second", "other")
    page.wait_for_selector("#note:has-text('other needs a class')")
    assert page.input_value("#second") == ""


def test_the_page_fits_on_a_phone_and_speaks_chinese(opened: Callable[..., Page]) -> None:
    page = opened("?second=v1#lang=zh", 360, 740)
    page.wait_for_selector("#hero-second[data-drawn]")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.inner_text("#python-title") == "复制的，还是新的？"
    dock, hero = (page.locator(selector).bounding_box() for selector in ("#dock", "#hero-second"))
    assert hero["y"] + hero["height"] <= dock["y"]
    assert dock["y"] + dock["height"] <= 740


def test_the_keyboard_reaches_every_control(opened: Callable[..., Page]) -> None:
    page = opened()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"model", "second", "nearest-find", "own-choose"} <= reached
