"""Benchmarks of the demo's page: the first picture, a slider's picture, and twenty users at once.

    make repro && make bench

Goals: the first picture within 3 s of opening the page, a slider's picture within 150 ms at the median, and twenty
users for a minute without an error and with a median below a second. The first two are measured in Chromium, with the
server already running. The users send the requests of the sliders, the next one as soon as the last is answered. Needs
the extra `slow` and Chromium. Writes benchmarks/results/demo.json.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from benchmarks.browser import chromium
from benchmarks.data import RESULTS
from stages import artifacts
from stages.machine import processor

PAGE_LOADS, SLIDER_MOVES = 5, 60
USERS, SECONDS = 20, 60
# Moves a slider and returns the milliseconds until the picture changes.
SLIDE = """async (step) => {
  const slider = document.querySelector('#direction-1 input[type=range]');
  const shown = () => document.querySelector('#picture img').src;
  const before = shown(), started = performance.now();
  slider.value = Number(slider.value) + step;
  slider.dispatchEvent(new Event('input', {bubbles: true}));
  while (shown() === before) await new Promise((resume) => setTimeout(resume, 2));
  return performance.now() - started;
}"""


def in_browser(address: str) -> tuple[list[float], list[float]]:
    """Seconds to the first picture, each time with an empty cache, and milliseconds to a slider's pictures."""
    first = []
    with chromium() as browser:
        for _ in range(PAGE_LOADS):
            page = browser.new_context().new_page()
            started = time.perf_counter()
            page.goto(address)
            page.wait_for_selector("#grid img")
            first.append(time.perf_counter() - started)
        page.goto(f"{address}/en/?tab=explore")
        page.wait_for_selector("#picture img")
        slider_times = [page.evaluate(SLIDE, 0.1 if i % 40 < 20 else -0.1) for i in range(SLIDER_MOVES)]
    return first, slider_times


def with_users(address: str) -> tuple[list[float], int]:
    """Seconds to each picture of all users, and the number of failed requests."""
    config = requests.get(f"{address}/en/config", timeout=60).json()
    parts = {part["id"]: part["props"] for part in config["components"]}
    ids = {props.get("elem_id"): number for number, props in parts.items()}
    events = config["dependencies"]
    load = next(event["id"] for event in events if "load" in [target[1] for target in event["targets"]])
    move = next(event for event in events if event["outputs"] == [ids["picture"]])
    latencies: list[float] = []
    failed = [0]
    ends = time.perf_counter() + SECONDS

    def user(number: int) -> None:
        with requests.Session() as session:

            def run(event: int, data: list[Any]) -> str:
                query = {"data": data, "fn_index": event, "session_hash": f"user{number}"}
                return session.post(f"{address}/en/gradio_api/run/predict", json=query, timeout=60).text

            run(load, [])
            values = {
                **{i: parts[i].get("value") for i in move["inputs"]},
                ids["model"]: "workspace",
                ids["beside"]: "",
            }
            step = 0
            while time.perf_counter() < ends:
                step += 1
                values |= {ids["seed"]: number, ids["direction-1"]: step % 120 / 10 - 6}
                started = time.perf_counter()
                response = run(move["id"], list(values.values()))
                latencies.append(time.perf_counter() - started)
                failed[0] += "data:image/png" not in response

    users = [threading.Thread(target=user, args=(number,)) for number in range(USERS)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    return latencies, failed[0]


def main(report: Callable[[str], None] = print) -> None:
    """Measure, print the results and write them."""
    if not Path("models/generator.keras").is_file():
        sys.exit("error: models/generator.keras: missing; run `make repro` or `dvc pull`")
    if shutil.which("chromium") is None:
        sys.exit("error: chromium is not installed; this benchmark needs it")
    command = [sys.executable, "-m", "demo", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr  # noqa: S101 - it is a pipe
        matches = (re.match(r"The page: (\S+)", line) for line in server.stderr)
        address = next((match[1] for match in matches if match), "")
        try:
            if not address:
                sys.exit("error: the demo did not start; `make demo` shows why")
            first, slider_times = in_browser(address)
            latencies, failed = with_users(address)
        finally:
            server.terminate()
    result = {
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0))},
        "first_picture_seconds": round(statistics.median(first), 2),
        "first_picture_worst_seconds": round(max(first), 2),
        "slider_milliseconds": round(statistics.median(slider_times)),
        "slider_worst_milliseconds": round(max(slider_times)),
        "users": USERS,
        "users_seconds": SECONDS,
        "users_pictures": len(latencies),
        "users_failed": failed,
        "users_median_seconds": round(statistics.median(latencies), 3),
        "users_95_percent_seconds": round(statistics.quantiles(latencies, n=20)[-1], 3),
    }
    artifacts.write_json(RESULTS / "demo.json", result)
    for name, value in result.items():
        report(f"{name}: {value}")


if __name__ == "__main__":
    main()
