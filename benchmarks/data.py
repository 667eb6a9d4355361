"""Benchmarks of the data path: from an archive to TFRecords, and from TFRecords to batches.

    make bench

The compared programs run in turn, several times, on the same cores. The ratios are those of the medians. Writes
benchmarks/results/data.json.
"""

import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import simplejpeg
from PIL import Image

from benchmarks import photos
from stages import artifacts
from stages.machine import processor

ROUNDS, IMAGES, MANY, LOOP_IMAGES, SIZE = 3, 20_000, 200_000, 1_000, 64
BOX = (35, 55, 143, 163)
RESULTS = Path(__file__).parent / "results"
PARAMS = f"prepare: {{crop: {list(BOX)}, size: {SIZE}, channels: 3, dtype: uint8}}\n"


def _bare(encoded: Sequence[bytes]) -> None:
    cv2.setNumThreads(1)
    left, top, right, bottom = BOX
    for data in encoded:
        image = simplejpeg.decode_jpeg(data)[top:bottom, left:right]
        cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def bare_rate(pool: ProcessPoolExecutor, chunks: Sequence[Sequence[bytes]]) -> float:
    """Images per second for only decoding, cropping and resizing, from memory, on all cores."""
    started = time.perf_counter()
    list(pool.map(_bare, chunks))
    return sum(map(len, chunks)) / (time.perf_counter() - started)


def loop_rate(archive: Path, count: int) -> float:
    """Images per second of one thread that goes from zip to zip with Pillow, Lanczos and PNG, as data set tools do."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(io.BytesIO(), "w") as target:
        started = time.perf_counter()
        for name in source.namelist()[:count]:
            with Image.open(io.BytesIO(source.read(name))) as picture:
                small = picture.crop(BOX).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            out = io.BytesIO()
            small.save(out, "PNG")
            target.writestr(name, out.getvalue())
        return count / (time.perf_counter() - started)


def _memory(pid: int) -> int:
    """The memory of a process and its descendants in bytes: the proportional set size, which splits shared pages."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return total
    return total + sum(_memory(int(child)) for child in children)


def run_stage(project: Path, watch: bool = False) -> tuple[float, float, int]:
    """Run the stage as a user does. Returns its images per second, the seconds from start to end and the peak bytes.

    The rate is from opening the archive to the last shard. The peak is 0 unless `watch` is set, because measuring it
    costs a few percent of the rate.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.prepare"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.DEVNULL,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid) if watch else 0)
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"error: the prepare stage exits with {process.returncode}")
    seconds = time.perf_counter() - started
    timings = json.loads((project / "reports/timings.json").read_text())
    return timings["prepare"]["images_per_second"], seconds, peak


def project_of(folder: Path, archive: Path) -> Path:
    """A project with this archive in data/raw, as the download stage writes it."""
    raw = folder / "data/raw"
    raw.mkdir(parents=True)
    archive.rename(raw / archive.name)
    file = {"name": archive.name, "bytes": (raw / archive.name).stat().st_size}
    files = [{**file, "sha256": artifacts.sha256(raw / archive.name)}]
    facts: dict[str, object] = {
        "name": "photos",
        "title": "Photo-like noise",
        "homepage": "",
        "licence": "MIT",
        "citation": "",
    }
    facts = {**facts, "format": "archive", "classes": [], "files": files}
    artifacts.write_json(raw / "source.json", facts)
    (folder / "params.yaml").write_text(PARAMS)
    return folder


def reading_rate(prepared: Path, batch: int = 128) -> float:
    """Images of 64×64×3 per second, read into shuffled, deterministic float32 batches over several epochs."""
    from stages import manifest, records

    data = manifest.read(prepared)
    batches = iter(records.shuffled(manifest.verified_shards(prepared, data, "train"), data, batch, 0))
    count = 3 * (data.splits["train"].records // batch)
    for _ in range(20):
        next(batches)
    started = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * batch / (time.perf_counter() - started)


def waiting_share(prepared: Path, turns: int = 12, steps: int = 10) -> float:
    """The share of a training step that waits for its batch, for a narrow 64×64×3 DCGAN (the worst case).

    It compares steps on the stream with steps on one constant batch, `steps` of each in turn. A few turns are not
    enough, because the difference is smaller than the variation of a step.
    """
    from stages import manifest, records
    from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
    from stages.train.settings import Settings
    from stages.train.trainer import Trainer

    data = manifest.read(prepared)
    files = manifest.verified_shards(prepared, data, "train")
    settings = Settings(
        batch_size=128, generator=GeneratorSettings(channels=16), discriminator=DiscriminatorSettings(channels=16)
    )
    trainer = Trainer(settings, data.shape[0], data.shape[2])
    stream = records.shuffled(files, data, settings.batch_size, settings.seed)
    sources = {"stream": iter(stream), "constant": iter(stream.take(1).cache().repeat())}
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    done = 0
    for turn in range(turns + 1):
        for name, batches in sources.items() if turn % 2 else reversed(sources.items()):
            started = time.perf_counter()
            trainer.run(batches, done, steps)
            done += steps
            if turn:  # the first compiles
                seconds[name].append(time.perf_counter() - started)
    return 1 - statistics.median(seconds["constant"]) / statistics.median(seconds["stream"])


def main(report: Callable[[str], None] = print) -> None:
    """Measure, write the results and print them."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "photos.zip"
        encoded = photos.make(IMAGES)
        photos.write(archive, IMAGES, encoded)
        chunks = [encoded[i : i + 500] for i in range(0, len(encoded), 500)]
        project = project_of(Path(scratch) / "project", archive)
        archive = project / "data/raw" / archive.name
        measured: dict[str, list[float]] = {name: [] for name in ("bare", "stage", "wall", "loop")}
        with ProcessPoolExecutor(cores) as pool:
            bare_rate(pool, chunks[:4])
            for _ in range(ROUNDS):
                measured["bare"].append(bare_rate(pool, chunks))
                rate, seconds, _ = run_stage(project)
                measured["stage"].append(rate)
                measured["wall"].append(seconds)
                measured["loop"].append(loop_rate(archive, LOOP_IMAGES))
        median = {name: statistics.median(values) for name, values in measured.items()}
        reading = [reading_rate(project / "data/prepared") for _ in range(ROUNDS)]
        waiting = waiting_share(project / "data/prepared")
        _, _, peak = run_stage(project, watch=True)
        many = Path(scratch) / "many.zip"
        photos.write(many, MANY, encoded)
        _, _, peak_many = run_stage(project_of(Path(scratch) / "many", many), watch=True)
    result = {
        "machine": {"processor": processor(), "cores": cores},
        "images": IMAGES,
        "rounds": ROUNDS,
        "prepare_images_per_second": round(median["stage"]),
        "prepare_start_to_end_seconds": round(median["wall"], 2),
        "prepare_over_bare_decode_crop_resize": round(median["stage"] / median["bare"], 3),
        "prepare_over_pillow_lanczos_png_loop": round(median["stage"] / median["loop"], 1),
        f"peak_megabytes_at_{IMAGES}_images": round(peak / 1e6),
        f"peak_megabytes_at_{MANY}_images": round(peak_many / 1e6),
        "reading_images_per_second": round(statistics.median(reading)),
        "share_of_a_training_step_spent_waiting": round(waiting, 4),
        "peak_megabytes_of_this_process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }
    RESULTS.mkdir(exist_ok=True)
    artifacts.write_json(RESULTS / "data.json", result)
    for name, value in result.items():
        report(f"{name}: {value}")


if __name__ == "__main__":
    main()
