"""The invert command: prepare the picture, search for the z of its nearest sample, write and print what was found."""

import shlex
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from stages import artifacts, manifest, pixels, png, shell
from stages.errors import StageError
from stages.invert.settings import RESTARTS, Settings
from stages.manifest import Manifest
from stages.prepare.decode import RejectedError, decode
from stages.prepare.settings import Settings as PrepareSettings
from stages.prepare.shards import prepare_image
from stages.workspace import Workspace

_SHOWN = 256  # pixels per side of an image in the PNG, about
_DATA, _JUDGE = "data/prepared", "models/features"
# What is wrong with a rejected picture, and what to do. prepare.* are the settings that the data was prepared with.
_PROBLEMS = {
    "empty": "the file is empty; choose another picture",
    "not_an_image": "not a picture; choose a PNG, a JPEG or another picture",
    "corrupt": "the picture is damaged; choose another one, or save it anew",
    "truncated": "the end of the picture is missing; copy it again, or choose another one",
    "too_small": "{size} pixels, less than prepare.min_size allows; choose a larger picture",
    "too_large": "{size} pixels, more than prepare.max_pixels allows; make the picture smaller",
    "animated": "an animation, which prepare.animated rejects; choose a picture with one frame",
    "unsupported": "{detail}; convert it to PNG or JPEG",
    "encrypted": "it needs a password; save it without one",
    "outside_crop": "{size} pixels, smaller than prepare.crop needs; choose a picture like those of the data set",
}


def invert(settings: Settings, workspace: Workspace) -> None:
    """Find the z whose sample is nearest to a picture; write the pictures side by side, and the z.

    `workspace.base` is the project, `workspace.out` the folder of `settings.image_file`. Raises StageError for a
    picture that the prepare stage would reject, and for a missing or damaged input.
    """
    folder = workspace.base / _DATA
    data = manifest.read(folder)
    image = read(settings.picture, data)
    if not settings.model.exists():
        raise artifacts.missing(settings.model)
    shell.load_tensorflow("invert")
    from stages.inversion import Inverter, Search
    from stages.latent import Sampler, latent
    from stages.networks import judge as judges

    sampler = Sampler.load(settings.model, data.shape, data.classes)
    inverter = Inverter(sampler, judges.load(workspace.base / _JUDGE, data), settings.seed)
    found = inverter("invert", image[None], Search(RESTARTS, settings.steps))
    generator_sha256 = artifacts.sha256(settings.model)
    with workspace.outputs(settings.image_file.name, settings.z_file.name) as new:
        png.save_png(
            png.grid(np.stack([image, found.samples[0], difference(image, found.samples[0])]), 3),
            new(settings.image_file.name),
            max(1, _SHOWN // max(data.shape[:2])),
            png.Provenance(
                description=f"{shell.printable(settings.picture.name)} as the data is prepared, the nearest sample, "
                "and their difference (gray: none)",
                source=f"{settings.model.name}, SHA-256 {generator_sha256}",
                params={"seed": settings.seed, "steps": settings.steps, "restarts": RESTARTS},
                stage="invert",
                generator_sha256=generator_sha256,
                manifest_sha256=artifacts.sha256(folder / manifest.FILE),
            ),
        )
        np.save(new(settings.z_file.name), found.z)
    far = f"{found.pixels[0]:.1f} of 255 levels in each pixel (two random samples: by {inverter.random_pixels:.1f})"
    shell.say(f"{settings.picture}: the nearest sample differs by {far}")
    of_class = ""
    if sampler.classes:
        name = sampler.classes.names[sampler.classes.of_seeds(found.seeds)[0]]
        shell.say(f"its class: {name}")
        of_class = f" --class {shlex.quote(name)}"
    if np.array_equal(found.z, latent(found.seeds, sampler.dimensions)):
        shell.say(f"it is the sample of the seed {found.seeds[0]}")
    shell.say(f"{settings.image_file}: the picture, its nearest sample, and their difference")
    again = f"python -m stages.sample --z {settings.z_file}{of_class} --out again.png"
    shell.say(f"{settings.z_file}: the z of the sample. To draw it: {again}")


def read(path: Path, data: Manifest) -> np.ndarray:
    """A picture as the prepare stage has prepared the data: float32 (H, W, C) in [-1,1]. Raises StageError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; expected a picture") from None
    except IsADirectoryError:
        raise StageError(f"{path}: a folder; expected one picture") from None
    # The labels are not needed, and the manifest's form of a column of labels is not that of params.yaml.
    params = {name: value for name, value in data.params.items() if name != "labels"}
    settings = TypeAdapter(PrepareSettings).validate_python(params)
    try:
        return pixels.normalise(prepare_image(decode(content, settings), settings))
    except RejectedError as error:
        detail = error.detail or "a picture of a kind that is not read"
        problem = _PROBLEMS[error.reason].format(size=f"{error.width}×{error.height}", detail=detail)
        raise StageError(f"{path}: {problem}") from None


def difference(image: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Half of sample − image, so that gray means no difference: float32 (H, W, C) in [-1,1] from two of these.

    Images with alpha are compared on white; the result is opaque.
    """
    if image.shape[2] != 4:
        return (sample - image) / 2
    shown = [pixels.normalise(pixels.over(pixels.to_uint8(one), 255)) for one in (image, sample)]
    opaque = np.ones((*image.shape[:2], 1), np.float32)
    return np.concatenate([(shown[1] - shown[0]) / 2, opaque], axis=2)
