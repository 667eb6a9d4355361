"""Benchmarks of the playable page's engine: a slider's picture, D's answer and every layer, in Chromium.

    make repro && make bench

Goals on two cores without a GPU: a slider's picture within 16 ms for the default networks, and within 50 ms for 64×64×3
with 64 channels. Measured on the page, from the request to the worker until the pixels are there; each figure is a
median. Also measures the longest time for which the page does not respond while the worker draws. Needs the extra
`slow` and Chromium. Writes benchmarks/results/play.json.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.browser import chromium
from benchmarks.data import RESULTS
from stages import artifacts
from stages.machine import processor

# Name => size, channels of the images, channels of the networks.
NETWORKS = {"default": (32, 1, 32), "64x64x3, 64 channels": (64, 3, 64)}
BACKENDS = ("wasm", "js")
MEASURE = """async ([payload, backend]) => {
  const round = (milliseconds) => Math.round(milliseconds * 100) / 100;
  const timed = async (work) => {
    const started = performance.now();
    await work();
    return performance.now() - started;
  };
  const median = async (work) => {
    const times = [];
    for (let i = 0; i < 23; i++) times.push(await timed(work));
    return round(times.slice(3).sort((a, b) => a - b)[10]);
  };
  let engine, z;
  const started = await timed(async () => {
    engine = await Engine.start(payload, {backend});
    z = await engine.latents(0, 1);
    await engine.generate(z);
  });
  const images = await engine.images(z);
  const result = {
    first_picture_milliseconds: round(started),
    picture_milliseconds: await median(() => engine.generate(z)),
    layers_milliseconds: await median(() => engine.layers(z)),
    discriminator_milliseconds: await median(() => engine.discriminate(images)),
  };
  let last = performance.now(), pause = 0;
  const timer = setInterval(() => {
    pause = Math.max(pause, performance.now() - last);
    last = performance.now();
  }, 1);
  for (let i = 0; i < 50; i++) await engine.generate(z);
  clearInterval(timer);
  engine.stop();
  return {...result, page_pause_milliseconds: round(pause)};
}"""


def engine_page(folder: Path, worker: str = "", policy: str = "") -> str:
    """The address of a page with the class Engine and the playable page's content policy, and nothing else.

    `worker` and `policy` take the place of the playable page's.
    """
    from stages.play import assembly

    script = assembly.client()
    policy = policy or assembly.policy(script, "")
    html = f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}"><title>Engine</title>'
    html += f'<script type="text/plain" id="engine-worker">{worker or assembly.worker()}</script>'
    (folder / "engine.html").write_text(f"{html}<script>{script}</script>", encoding="utf-8")
    return (folder / "engine.html").resolve().as_uri()


def payload(size: int, channels: int, width: int) -> dict[str, Any]:
    """What the play stage packs of new networks."""
    from stages.networks.discriminator import discriminator
    from stages.networks.generator import generator
    from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
    from stages.play import stage

    settings = GeneratorSettings(channels=width)
    networks = (
        generator(size, channels, settings),
        discriminator(size, channels, DiscriminatorSettings(channels=width)),
    )
    facts = {"latentSize": settings.latent_dim, "height": size, "width": size, "channels": channels}
    return {"facts": facts, **stage.networks((size, size, channels), *networks)}


def measure() -> dict[str, dict[str, float]]:
    """The figures of each network and backend."""
    results = {}
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        page = browser.new_page()
        page.goto(engine_page(Path(folder)))
        for name, shape in NETWORKS.items():
            packed = payload(*shape)
            for backend in BACKENDS:
                results[f"{name}, {backend}"] = page.evaluate(MEASURE, [packed, backend])
    return results


def main(report: Callable[[str], None] = print) -> None:
    """Measure, print the results and write them."""
    if shutil.which("chromium") is None:
        sys.exit("error: chromium is not installed; this benchmark needs it")
    page = Path("reports/play.html")
    if not page.is_file():
        sys.exit(f"error: {page}: missing; run `make repro`")
    machine = {"processor": processor(), "cores": len(os.sched_getaffinity(0))}
    networks = measure()
    result = {"machine": machine, "page_megabytes": round(page.stat().st_size / 1e6, 2), "networks": networks}
    artifacts.write_json(RESULTS / "play.json", result)
    for name, figures in networks.items():
        report(f"{name}: {', '.join(f'{key} {value}' for key, value in figures.items())}")


if __name__ == "__main__":
    main()
