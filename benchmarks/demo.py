"""Benchmark of the demo's server: twenty visitors at once.

    make repro && make bench

Goal: twenty visitors for a minute without an error. Each opens the page, then asks for
the nearest training images of a sample and for the discriminator's answer to a picture, the next as soon as the last is
answered. (`python -m benchmarks.play` measures the pictures, which the browser computes.) Writes
benchmarks/results/demo.json.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests

from benchmarks.data import RESULTS
from benchmarks.photos import photo
from stages import artifacts
from stages.latent import latent
from stages.machine import processor

VISITORS, SECONDS = 20, 60


def visit(address: str, seconds: float = SECONDS) -> tuple[dict[str, list[float]], int]:
    """Seconds to each answer of all visitors by its kind, and the number of errors."""
    payload = requests.get(f"{address}/payload?model=workspace", timeout=60).json()
    size = payload["facts"]["latentSize"]
    label = 0 if payload["facts"]["conditional"] else None
    times: dict[str, list[float]] = {"page": [], "nearest": [], "judge": []}
    failed = [0]
    ends = time.perf_counter() + seconds

    def visitor(number: int) -> None:
        with requests.Session() as session:

            def timed(kind: str, body: str | bytes | None = None) -> None:
                started = time.perf_counter()
                where = f"{address}/{kind}?model=workspace" + (f"&class={label}" if label is not None else "")
                answer = session.post(where, data=body, timeout=60) if body else session.get(address, timeout=60)
                times[kind].append(time.perf_counter() - started)
                failed[0] += answer.status_code != 200 or answer.text.startswith('{"error"')

            seed = number
            while time.perf_counter() < ends:
                seed += VISITORS
                timed("page")
                z = latent([seed], size)[0].tolist()
                timed("nearest", json.dumps({"z": z, "class": label}))
                timed("judge", photo(seed))

    visitors = [threading.Thread(target=visitor, args=(number,)) for number in range(VISITORS)]
    for one in visitors:
        one.start()
    for one in visitors:
        one.join()
    return times, failed[0]


def main(report: Callable[[str], None] = print) -> None:
    """Measure, print the results and write them."""
    if not Path("models/generator.keras").is_file():
        sys.exit("error: models/generator.keras: missing; run `make repro` or `dvc pull`")
    command = [sys.executable, "-m", "demo", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr  # noqa: S101 - it is a pipe
        matches = (re.match(r"The page: (\S+)", line) for line in server.stderr)
        address = next((match[1] for match in matches if match), "")
        try:
            if not address:
                sys.exit("error: the demo did not start; `make demo` shows why")
            times, failed = visit(address)
        finally:
            server.terminate()
    result = {
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0))},
        "visitors": VISITORS,
        "seconds": SECONDS,
        "answers": sum(map(len, times.values())),
        "failed": failed,
        **{f"{kind}_median_seconds": round(statistics.median(values), 3) for kind, values in times.items()},
        **{
            f"{kind}_95_percent_seconds": round(statistics.quantiles(values, n=20)[-1], 3)
            for kind, values in times.items()
        },
    }
    artifacts.write_json(RESULTS / "demo.json", result)
    for name, value in result.items():
        report(f"{name}: {value}")


if __name__ == "__main__":
    main()
