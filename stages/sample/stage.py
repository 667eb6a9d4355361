"""The sample stage: pictures of samples, of real images and of the training run."""

from collections.abc import Mapping
from pathlib import Path

from stages import artifacts, manifest, pixels, png
from stages.errors import StageError
from stages.latent import Sampler
from stages.networks import judge as judges
from stages.sample.pictures import PICTURES, Drawing, Inputs
from stages.sample.settings import Settings
from stages.workspace import Workspace


def sample(settings: Settings, workspace: Workspace) -> Mapping[str, float]:
    """Draw the pictures of reports/samples with the generator."""
    inputs = _read_inputs(settings, workspace)
    with workspace.outputs("reports/samples") as new:
        folder = new("reports/samples")
        folder.mkdir()
        for draw in PICTURES:
            if drawing := draw(inputs):
                _save(drawing, folder, settings.scale)
    return {}


def _read_inputs(settings: Settings, workspace: Workspace) -> Inputs:
    model = workspace.input("models/generator.keras")
    generator_sha256 = artifacts.sha256(model)
    folder = workspace.input("data/prepared")
    data = manifest.read(folder)
    sampler = Sampler.load(model, data.shape, data.classes)
    needs_judge = bool(settings.arithmetic) and sampler.classes is None
    judge = judges.load(workspace.input("models/features"), data) if needs_judge else None
    if needs_judge and (judge is None or not judge.labelled):
        rejected = judges.rejected(workspace.input("models/features"))
        reason = "the judge of the labels was rejected" if judges.LABELLED in rejected else "the data has no classes"
        raise StageError(f"sample.arithmetic: {reason}; remove this setting or make it empty")
    images_seen, history = artifacts.read_arrays(workspace.input("models/timeline.npz"), "images_seen", "pictures")
    seeds = range(settings.first_seed, settings.first_seed + settings.count)
    return Inputs(
        settings=settings,
        workspace=workspace,
        data=data,
        sampler=sampler,
        judge=judge,
        generator_sha256=generator_sha256,
        manifest_sha256=artifacts.sha256(folder / manifest.FILE),
        images_seen=images_seen,
        history=pixels.normalise(history),
        seeds=seeds,
        samples=sampler.images(seeds),
    )


def _save(drawing: Drawing, folder: Path, scale: int) -> None:
    path = folder / f"{drawing.name}.png"
    try:
        if drawing.milliseconds:
            png.save_animation(drawing.frames, path, scale, drawing.milliseconds, drawing.provenance)
        else:
            png.save_png(drawing.frames[0], path, scale, drawing.provenance)
    except StageError as error:
        raise StageError(f"sample.{drawing.setting}: {path.name}: {error}") from None
