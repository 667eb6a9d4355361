"""params.yaml: valid settings are loaded, and a mistake becomes one line."""

import dataclasses
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import params
from stages.download.settings import Settings as Download
from stages.errors import ParamsError
from stages.prepare.settings import Settings as Prepare
from stages.sample.settings import Settings as Sample
from stages.train.settings import Settings as Train
from stages.validate.settings import Settings as Validate
from tests.conftest import ROOT, STAGES, Project

WHOLE = "\n".join(f"{section}: {{}}" for section in params.SECTIONS)


def load(tmp_path: Path, text: str, section: str = "train", settings: type = Train) -> object:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return params.load(path, section, settings)


FILES = [ROOT / "params.yaml", *(ROOT / "presets").glob("*.yaml")]


# The source of the Inception graph (features.network: inception). Only mirrors and tests change it.
NOT_IN_THE_FILES = {"inception_url", "inception_sha256"}


def settings_of(section: str) -> type:
    return importlib.import_module(f"stages.{params.SECTIONS[section]}.settings").Settings


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
@pytest.mark.parametrize("section", params.SECTIONS)
def test_the_projects_own_files_are_valid_and_complete(path: Path, section: str) -> None:
    content = params.read_file(path)
    assert list(content) == list(params.SECTIONS)
    if section != "validate":  # a schema may omit keys
        for place, key in params._keys(settings_of(section), section):
            assert key in functools.reduce(dict.__getitem__, place.split("."), content) or key in NOT_IN_THE_FILES
    params.load(path, section, settings_of(section))


@pytest.mark.parametrize("section", [section for section in params.SECTIONS if section != "validate"])
def test_the_default_of_a_key_is_the_value_in_the_preset_of_the_paper(section: str) -> None:
    preset: Any = params.load(ROOT / "presets/paper.yaml", section, settings_of(section))
    of_the_data: dict[str, Any] = {"arithmetic": ()} if section == "sample" else {}  # it names classes of this data set
    assert dataclasses.replace(preset, **of_the_data) == settings_of(section)()


def test_a_missing_key_takes_its_default(tmp_path: Path) -> None:
    assert load(tmp_path, "train: {}") == Train()


def test_1e_5_is_a_number_although_yaml_reads_it_as_text(tmp_path: Path) -> None:
    settings = load(tmp_path, "train: {optimizer: {generator_learning_rate: 1e-5}}")
    assert isinstance(settings, Train)
    assert settings.optimizer.generator_learning_rate == 1e-5


def test_a_value_that_moves_is_a_pair(tmp_path: Path) -> None:
    settings = load(tmp_path, "train: {optimizer: {beta_2: [0.9, 99e-2], generator_learning_rate: 1, burn_in: 9}}")
    assert isinstance(settings, Train)
    assert (settings.optimizer.beta_2, settings.optimizer.generator_learning_rate) == ((0.9, 0.99), 1.0)


def test_a_whole_number_is_accepted_as_a_float(tmp_path: Path) -> None:
    settings = load(tmp_path, "train: {average: {halflife: 5}}")
    assert isinstance(settings, Train)
    assert isinstance(settings.average.halflife, float)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["expected sections", "an empty file"]),
        ("- 1\n- 2", ["expected sections", "a list"]),
        ("train: [1]", ["train: expected a mapping", "[1]"]),
        ("prepare: {}", ["train: missing section; add it (`train: {}` takes every default)"]),
        ("trian: {}", ["trian: unknown section; did you mean 'train'?"]),
        ("train: {bacth_size: 1}", ["train.bacth_size: unknown key; did you mean 'batch_size'?"]),
        ("train: {1: 1}", ["train.1: unknown key"]),
        ("train: {batch_size: '64'}", ["train.batch_size: expected a valid integer", "'64'"]),
        ("train: {batch_size: 64.5}", ["train.batch_size: expected a valid integer", "64.5"]),
        ("train: {batch_size: true}", ["train.batch_size: expected a valid integer", "True"]),
        ("train: {batch_size: 0}", ["train.batch_size: expected greater than or equal to 2", "0"]),
        ("train: {optimizer: {beta_1: .nan}}", ["train.optimizer.beta_1: expected a finite number", "nan"]),
        ("train: {optimizer: {beta_1: .inf}}", ["train.optimizer.beta_1: expected a finite number", "inf"]),
        ("train: {optimizer: {beta_1: fast}}", ["train.optimizer.beta_1: expected a valid number", "'fast'"]),
        ("train: {optimizer: {beta_1: null}}", ["train.optimizer.beta_1: expected a valid number", "None"]),
        ("train: {optimizer: {beta_1: 1}}", ["train.optimizer.beta_1: expected less than 1, got 1"]),
        ("train: {optimizer: }", ["train.optimizer: expected a mapping of settings, got None"]),
        (
            "train: {augment: {transforms: [colour, blur]}}",
            ["train.augment.transforms.1: expected 'colour', 'translation' or 'cutout', got 'blur'"],
        ),
        (
            "train: {augment: {transforms: [cutout, cutout]}}",
            ["train.augment: transforms: expected each transform once, got 'cutout' twice"],
        ),
        (
            "train: {augment: {probability: often}}",
            ["train.augment.probability: expected adaptive or a number from 0 to 1, got 'often'"],
        ),
        ("train: {augment: {probability: 2}}", ["probability: expected adaptive or a number from 0 to 1, got 2"]),
        ("train: {augment: {target: 0}}", ["train.augment.target: expected greater than 0, got 0"]),
        ("train: {loss: {name: bce}}", ["train.loss.name: expected 'non_saturating', 'minimax'", "'bce'"]),
        (
            "train: {loss: {name: hinge, label_smoothing: 0.1}}",
            ["train.loss.label_smoothing: expected 0, since hinge has no labels, got 0.1"],
        ),
        (
            "train: {loss: {name: wasserstein_gp}}",
            [
                "train.discriminator.norm: expected no batch norm, since wasserstein_gp has",
                "`discriminator.norm: none`",
            ],
        ),
        (
            "train: {loss: {r2: 0.1}}",
            ["train.discriminator.norm: expected no batch norm, since loss.r2 is", "got 'batch'; write"],
        ),
        (
            "train: {optimizer: {beta_2: [0.9, 0.99]}}",
            ["train.optimizer.burn_in: expected the images over which beta_2 moves, got 0"],
        ),
        ("train: {optimizer: {beta_2: [0.9, 1]}}", ["train.optimizer.beta_2.1: expected less than 1, got 1"]),
        ("train: {optimizer: {beta_2: [0.9]}}", ["train.optimizer.beta_2.1: missing from"]),
        ("train: {loss: {r1: fast}}", ["train.loss.r1: expected a valid number, got 'fast'"]),
        (
            "train: {optimizer: {discriminator_steps: 10000}}",
            ["train.images: expected at least one step (1280000), got 240000"],
        ),
        ("train: {seed: 1, seed: 2}", ["not valid YAML: duplicate key 'seed' (line 1, column 18)"]),
        ("train: {", ["not valid YAML"]),
        ("train: {seed: {{ seed }}}", ["not valid YAML", "a key must be a plain word"]),
        (
            "report: {}\ntrain: {title: 2024-02-30}",
            ["not valid YAML: invalid timestamp: day is out of range", "line 2"],
        ),
        ("train: {seed: 0x_}", ["not valid YAML: invalid int", "line 1, column 15"]),
        ("train: {seed: !!timestamp x}", ["not valid YAML: invalid timestamp", "line 1"]),
        ("train: !!map x", ["not valid YAML: expected a mapping", "(line 1, column 8)"]),
        ("!!map x", ["not valid YAML: expected a mapping", "(line 1, column 1)"]),
        ("train: " + "[" * 3000 + "]" * 3000, ["brackets or lists are nested too deeply"]),
        ("[" * 3000, ["brackets or lists are nested too deeply"]),
        ("train:\n\tseed: 1", ["not valid YAML: a tab; indent with spaces (line 2, column 1)"]),
        ("train:\n  seed: 1: 2", ["not valid YAML: a second colon, ", "(line 2, column 10)"]),
        ("train:\n  seed 1\n  images: 5", ["a missing colon in the line above (line 3, column 9)"]),
        ("train:\n  seed\n  images: 5", ["a missing colon in the line above (line 3, column 9)"]),
        (
            "train:\n    seed: 1\n  images: 5",
            ["unexpected here; is it indented like the lines above? (line 3, column 3)"],
        ),
        (
            "train: {seed: 1\nreport: {}",
            ["unclosed bracket; expected commas, and } at", "(line 1, column 8)"],
        ),
        ("report:\n  title: 'x\ntrain: {}", ["not valid YAML: unclosed quote (line 2, column 10)"]),
        (
            "report:\n  title: %x",
            ["not valid YAML: a value cannot begin with '%'; put it in quotes (line 2, column 10)"],
        ),
        ("report:\n  title: \x01", [r"not valid YAML: the character '\x01' is not allowed (line 2, column 10)"]),
        ("train: {}\n---\nreport: {}", ["not valid YAML: a second document", "(line 2, column 1)"]),
        ("train: {images: 127}", ["train.images: expected at least one step (128), got 127"]),
    ],
)
def test_the_error_for_a_mistake_is_one_line_that_names_file_key_and_expectation(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "params.yaml"))
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_missing_entry_of_a_row_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"sample\.arithmetic\.0\.2: missing from \['Bag', 'Coat'\]; add it"):
        load(tmp_path, "sample: {arithmetic: [[Bag, Coat]]}", "sample", Sample)


@pytest.mark.parametrize(
    ("size", "shape"), [("28", (28, 28, 1)), ("[160, 160]", (160, 160, 1)), ("[64, 128]", (64, 128, 1))]
)
def test_a_size_is_a_side_or_height_and_width(tmp_path: Path, size: str, shape: tuple[int, int, int]) -> None:
    settings = load(tmp_path, f"prepare: {{size: {size}}}", "prepare", Prepare)
    assert isinstance(settings, Prepare)
    assert settings.shape == shape
    assert settings.size == (shape[0] if shape[0] == shape[1] else shape[:2])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "prepare: {size: 50}",
            "prepare.size: expected sides of 16 to 1024 pixels that are a power of two or 3, 5 or 7",
        ),
        ("prepare: {size: [64, 100]}", "got 100; use 96 or 112"),
        ("prepare: {size: 8}", "got 8; use 16"),
        ("prepare: {size: 2000}", "got 2000; use 1024"),
        ("prepare: {size: 28x28}", "prepare.size: expected a side in pixels or [height, width], got '28x28'"),
        ("prepare: {size: [28]}", "expected a side in pixels or [height, width], got [28]"),
        ("prepare: {size: 28.0}", "expected a side in pixels or [height, width], got 28.0"),
        ("prepare: {crop: [9, 0, 3, 4]}", "prepare.crop: expected none, square, celeba_108, "),
        ("prepare: {crop: [0, 0, 9]}", "got [0, 0, 9]"),
        ("prepare: {crop: [0, 0, 9, 9.5]}", "got [0, 0, 9, 9.5]"),
        ("prepare: {crop: [-1, 0, 3, 4]}", "got [-1, 0, 3, 4]"),
        ("prepare: {crop: round}", "prepare.crop: expected none, square, celeba_108, "),
        ("prepare: {channels: 2}", "prepare.channels: expected 1, 3 or 4, got 2"),
    ],
)
def test_invalid_prepare_settings_are_named_in_the_error(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml") as caught:
        load(tmp_path, text, "prepare", Prepare)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: 5", "validate.images: expected a mapping {a: …, b: …}, got 5"),
        ("images: {train: 500}", "validate.images.train: expected [minimum, maximum], got 500"),
        ("images: {train: [500]}", "validate.images.train: expected [minimum, maximum], got [500]"),
        ("images: {train: [2, 1]}", "validate.images.train: expected [minimum, maximum], got [2, 1]"),
        ("mean: 0.5", "validate.mean: expected [minimum, maximum], got 0.5"),
        ("shape: 32", "validate.shape: expected a list [a, b, …], got 32"),
    ],
)
def test_a_schema_entry_of_the_wrong_form_is_named_in_the_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, f"validate: {{{text}}}", "validate", Validate)
    assert str(caught.value) == f"{tmp_path / 'params.yaml'}: {message}"


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("fashion-mnist", "did you mean 'fashion_mnist'?"),
        ("CelebA", "did you mean 'celeba'?"),
        ("lsun", "did you mean 'lsun_bedroom'?"),
        ("/path/to/pictures", "a path belongs in dataset.own, with source: own"),
        ("pictures/", "a path belongs in dataset.own, with source: own"),
        ("~", "a path belongs in dataset.own, with source: own"),
        ("pictures.zip", "a path belongs in dataset.own, with source: own"),
    ],
)
def test_an_unknown_source_gets_a_hint(tmp_path: Path, source: str, hint: str) -> None:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, f"dataset: {{source: '{source}'}}", "dataset", Download)
    assert str(caught.value).endswith(f", got {source!r}; {hint}")


SEEDS = [
    *(("prepare", "seed"), ("features", "seed"), ("train", "seed")),
    *(("sample", "first_seed"), ("evaluate", "first_seed")),
]


@pytest.mark.parametrize(("section", "key"), SEEDS)
def test_a_seed_has_at_most_31_bits(tmp_path: Path, section: str, key: str) -> None:
    assert load(tmp_path, f"{section}: {{{key}: 2147483647}}", section, settings_of(section))
    for seed in (2**31, 2**63):
        with pytest.raises(
            ParamsError, match=rf"{section}\.{key}: expected less than or equal to 2147483647, got {seed}"
        ):
            load(tmp_path, f"{section}: {{{key}: {seed}}}", section, settings_of(section))


@pytest.mark.slow
def test_all_stages_accept_the_largest_seeds(tiny_copy: Project) -> None:
    file = tiny_copy.folder / "params.yaml"
    content = yaml.safe_load(file.read_text())
    for section, key in SEEDS:
        content[section][key] = 2**31 - 1
    content["sample"]["interpolate"] = [0, 2**31 - 1]
    content["train"] |= {"loss": {"name": "wasserstein_gp"}, "horizontal_flip": True}
    content["train"]["discriminator"]["norm"] = "none"
    file.write_text(yaml.safe_dump(content))
    for stage in STAGES:
        result = tiny_copy.run(stage)
        assert result.returncode == 0, result.stderr


def test_a_missing_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"nowhere\.yaml: no such file; expected a params file"):
        params.load(tmp_path / "nowhere.yaml", "train", Train)


@pytest.mark.parametrize("module", ["stages.params", "stages.train"])
def test_the_command_exits_with_2_and_without_a_traceback(tmp_path: Path, module: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(WHOLE.replace("train: {}", "train: {batchsise: 1}"))
    flag = [str(path)] if module == "stages.params" else ["--params", str(path)]
    result = subprocess.run(
        [sys.executable, "-m", module, *flag], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr == f"error: {path}: train.batchsise: unknown key; did you mean 'batch_size'?\n"
    assert not result.stdout


UNKNOWN_KEYS = {
    "train.epochs": "sizes are in images, repeats counted: `train.images`; 20 epochs of 60,000 images are 1200000",
    "features.num_epochs": "sizes are in images, repeats counted: `features.images`; 20 epochs of 60,000",
    "train.resume": "an interrupted run resumes when you repeat the same command; `train.images` trains a finished one",
    "train.lr": "each network has its own: `train.optimizer.generator_learning_rate` and `train.optimizer.",
    "features.lr": "use `features.learning_rate`",
    "prepare.image_size": "use `prepare.size`, in pixels",
    "prepare.MaxSamples": "use `prepare.max_images`; 0 uses all",
    "evaluate.num-samples": "use `evaluate.samples`",
    "train.nz": "use `train.generator.latent_dim`",
    "train.gpu": "it is no setting: TensorFlow uses each GPU that it finds; `CUDA_VISIBLE_DEVICES=0 make",
    "train.beta1": "use `train.optimizer.beta_1`",
    "train.optimizer.beta1": "did you mean 'beta_1'?",
    "train.optimizer.ema": "use `train.average.halflife`, in images",
    "train.loss.smoothing": "use `train.loss.label_smoothing`",
    "train.generator.chanels": "did you mean 'channels'?",
    "train.generator.patience": "use `train.scoring.patience`",
    "train.generator.horizontal_flip": "use `train.horizontal_flip`",
    "train.ada_kimg": "use `train.augment.probability: adaptive`, with `train.augment.target` and `train.augment.rise`",
    "train.augmentation": "use `train.augment.transforms`, or `train.horizontal_flip` for real images alone",
    "train.average.generator_learning_rat": "did you mean `train.optimizer.generator_learning_rate`?",
    "train.batchSize": "did you mean 'batch_size'?",
    "prepare.batch_size": "use `train.batch_size`",
    "train.size": "use `prepare.size`",
    "report.mode_threshold": "use `evaluate.mode_threshold`",
    "train.discriminater_steps": "did you mean `train.optimizer.discriminator_steps`?",
    # The keys of `train` before it had groups.
    "train.latent_dim": "use `train.generator.latent_dim`",
    "train.generator_channels": "use `train.generator.channels`",
    "train.discriminator_channels": "use `train.discriminator.channels`",
    "train.kernel_size": "use `train.generator.kernel_size` or `train.discriminator.kernel_size`",
    "train.upsampling": "use `train.generator.upsampling`",
    "train.generator_stem": "use `train.generator.stem`",
    "train.discriminator_head": "use `train.discriminator.head`",
    "train.generator_activation": "use `train.generator.activation`",
    "train.discriminator_activation": "use `train.discriminator.activation`",
    "train.batch_norm": "use `train.generator.norm` and `train.discriminator.norm`: batch (as in the paper), batch_all",
    "train.spectral_norm": "use `train.discriminator.norm: spectral`",
    "train.gradient_penalty": "use `train.loss.gradient_penalty`",
    "train.label_smoothing": "use `train.loss.label_smoothing`",
    "train.discriminator_steps": "use `train.optimizer.discriminator_steps`",
    "train.updates": "use `train.optimizer.updates`",
    "train.generator_learning_rate": "use `train.optimizer.generator_learning_rate`",
    "train.discriminator_learning_rate": "use `train.optimizer.discriminator_learning_rate`",
    "train.learning_rate_decay": "use `train.optimizer.learning_rate_decay`",
    "train.beta_1": "use `train.optimizer.beta_1`",
    "train.beta_2": "use `train.optimizer.beta_2`",
    "train.ema_halflife": "use `train.average.halflife`, in images",
    "train.ema_rampup": "use `train.average.rampup`",
    "train.score_every": "use `train.scoring.every`, in images",
    "train.score_samples": "use `train.scoring.samples`",
    "train.patience": "use `train.scoring.patience`",
}


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_an_unknown_key_gets_the_answer_of_someone_who_knows_the_word(tmp_path: Path, key: str) -> None:
    section, *names = key.split(".")
    text = f"{section}: " + "".join(f"{{{name}: " for name in names) + "1" + "}" * len(names)
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, text, section, settings_of(section))
    assert f"params.yaml: {key}: unknown key; {UNKNOWN_KEYS[key]}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("loss: hinge", "train.loss: expected a mapping of settings, got 'hinge'; use `train.loss.name`"),
        ("optimizer: adam", "train.optimizer: expected a mapping of settings, got 'adam'; it is always Adam, with"),
    ],
)
def test_a_value_in_the_place_of_a_group_gets_an_answer(tmp_path: Path, text: str, answer: str) -> None:
    with pytest.raises(ParamsError) as caught:
        load(tmp_path, f"train: {{{text}}}")
    assert answer in str(caught.value)


def test_a_key_outside_every_section_gets_the_same_answer(tmp_path: Path) -> None:
    for name, answer in {
        "epochs": "sizes are in images",
        "seed": "use `prepare.seed` or `features.seed` or `train.seed`",
    }.items():
        with pytest.raises(ParamsError) as caught:
            load(tmp_path, f"{name}: 1\ntrain: {{}}")
        assert f"params.yaml: {name}: unknown section; {answer}" in str(caught.value)


def test_the_answers_to_unknown_keys_name_only_keys_that_exist() -> None:
    keys = {".".join(key) for section in params.SECTIONS for key in params._keys(settings_of(section), section)}
    table = yaml.safe_load((ROOT / "stages/unknown_keys.yaml").read_text())
    for here in ("train", "features"):
        named = {key for answer in table for key in re.findall(r"`(\w+(?:\.\w+)+)[:`]", answer.format(here=here))}
        assert len(named) > 20
        assert named <= keys
    words = [word for words in table.values() for word in words.split()]
    assert len(words) == len(set(words)), "each word has one answer"
    assert not [word for word in words if word != params._letters(word) and "." not in word]


def test_check_loads_every_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(WHOLE.replace("report: {}", "report: {titel: x}"))
    with pytest.raises(ParamsError, match=r"report\.titel: unknown key; did you mean 'title'\?"):
        params.check(path)


def test_check_compares_the_arithmetic_with_the_classes_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    rows = WHOLE.replace("sample: {}", "sample: {arithmetic: [[_boot, Bag, Ankle boots]]}")
    path.write_text(rows)
    params.check(path)  # without classes in the schema only the sample stage can check the names
    path.write_text(rows.replace("validate: {}", "validate: {classes: [Bag, _boot, a__b, Ankle boot]}"))
    with pytest.raises(ParamsError, match=r"validate\.classes has no 'Ankle boots'; did you mean 'Ankle boot'\?"):
        params.check(path)
