"""The formats of an exported generator: how each is written, run by its own runtime, and used in Python.

A format is a row of FORMATS.
"""

import json
import keyword
import shutil
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from stages.networks import saving
from tools.export.facts import FILE

Values = Mapping[str, np.ndarray]
"""Inputs float32 (N, length) by their `input_name`, in the generator's order."""
_OUTPUT, _SIGNATURE = "image", "serving_default"
_NO_DATE = (1980, 1, 1, 0, 0, 0)
# Runtimes add up in another order than TensorFlow: 3 · 10⁻⁶ was measured for the default networks.
_ROUNDING = 1e-4
# Two levels of 255. Weights of float16 have 11 bits: a third of a level was measured for the default networks.
_HALF_ROUNDING = 4 / 255


@dataclass(frozen=True)
class Format:
    """A format of an exported generator.

    - `file`: the name of its file or folder.
    - `runtime`: the Python packages that run it. (Keras also runs on JAX and PyTorch.)
    - `tolerance`: how far an image's values in [-1,1] may be from those of the Keras file.
    - `write`: writes a generator with the facts of facts.py to a path.
    - `load`: opens the path in the runtime, as a function of the inputs to images float32 (N, H, W, C).
    - `imports`, `opens`, `draws`: how to draw an image in Python. `draws` has the inputs as {arguments}.
    """

    file: str
    runtime: str
    tolerance: float
    write: Callable[[keras.Model, Path, Mapping[str, Any]], None]
    load: Callable[[Path], Callable[[Values], np.ndarray]]
    imports: str
    opens: str
    draws: str


def input_name(name: str) -> str:
    """The name of a generator's input in other programs. TensorFlow makes it a parameter, which `class` cannot be."""
    return f"{name}_" if keyword.iskeyword(name) else name


def _servable(model: keras.Model) -> keras.Model:
    """The same network with the `input_name`s, and a Reshape after each up-sampling, whose size LiteRT cannot infer."""

    def apply(layer: Any, *inputs: Any, **options: Any) -> Any:
        outputs = layer(*inputs, **options)
        if isinstance(layer, keras.layers.UpSampling2D):
            outputs = keras.layers.Reshape(layer.output.shape[1:])(outputs)
        return outputs

    inputs = [keras.Input(batch_shape=value.shape, name=input_name(value.name)) for value in model.inputs]
    return keras.models.clone_model(model, _one_or_all(inputs), clone_function=lambda layer: layer, call_function=apply)


def _save(model: keras.Model, path: Path) -> None:
    """Write a generator as SavedModel, with names for its inputs and its output."""
    network = _servable(model)

    def serve(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        return {_OUTPUT: network(_one_or_all(list(values)), training=False)}

    archive = keras.export.ExportArchive()
    archive.track(network)
    specs = [tf.TensorSpec(value.shape, tf.float32, value.name) for value in network.inputs]
    archive.add_endpoint("serve", serve, input_signature=specs)
    archive.write_out(str(path), verbose=False)


def _write_saved_model(model: keras.Model, path: Path, facts: Mapping[str, Any]) -> None:
    """TensorFlow leaves the folder assets.extra to others."""
    _save(model, path)
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / FILE).write_text(_text(facts), encoding="utf-8")


def _load_saved_model(path: Path) -> Callable[[Values], np.ndarray]:
    signature = tf.saved_model.load(str(path)).signatures[_SIGNATURE]
    return lambda values: np.asarray(signature(**{k: tf.constant(v) for k, v in values.items()})[_OUTPUT])


def _write_onnx(model: keras.Model, path: Path, facts: Mapping[str, Any]) -> None:
    import onnx

    network = _servable(model)
    network(network.input)  # Keras exports no network that was never called
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter looks for attributes that NumPy has no longer
        network.export(path, format="onnx", verbose=False)
    graph = onnx.load(path)
    _name_onnx(graph.graph)
    graph.doc_string = facts["title"]
    onnx.helper.set_model_props(graph, {FILE: _text(facts), "license": str(facts["license"])})
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _name_onnx(graph: Any) -> None:
    """Name the output, the constants and the batch's dimension. The converter's numbers differ from run to run."""
    constants = {constant.name: constant for constant in graph.initializer}
    used = dict.fromkeys(name for node in graph.node for name in node.input if name in constants)
    new_names = {graph.output[0].name: _OUTPUT, **{name: f"constant_{i}" for i, name in enumerate(used)}}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
    del graph.initializer[:]
    for name in used:
        constants[name].name = new_names[name]
        graph.initializer.append(constants[name])
    graph.output[0].name = _OUTPUT
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"


def _load_onnx(path: Path) -> Callable[[Values], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda values: np.asarray(session.run([_OUTPUT], dict(values))[0])


def _tflite_writer(half: bool) -> Callable[[keras.Model, Path, Mapping[str, Any]], None]:
    def write(model: keras.Model, path: Path, facts: Mapping[str, Any]) -> None:
        """The facts are in a ZIP archive behind the model, the format's own place for other files."""
        source = path.with_suffix(".source")
        _save(model, source)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=[_SIGNATURE])
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())
        shutil.rmtree(source)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(zipfile.ZipInfo(FILE, _NO_DATE), _text(facts))

    return write


def _load_tflite(path: Path) -> Callable[[Values], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner(_SIGNATURE)
    return lambda values: np.asarray(runner(**values)[_OUTPUT])


def _write_keras(model: keras.Model, path: Path, facts: Mapping[str, Any]) -> None:
    saving.save(model, path)


def _load_keras(path: Path) -> Callable[[Values], np.ndarray]:
    model = saving.load(path)
    return lambda values: run(model, values)


def run(model: keras.Model, values: Values) -> np.ndarray:
    """The images float32 (N, H, W, C) of a generator in Keras."""
    return np.asarray(model(_one_or_all(list(values.values())), training=False))


def _one_or_all(values: list[Any]) -> Any:
    """Inputs as Keras takes them: a list, or the only one."""
    return values if len(values) > 1 else values[0]


def _text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def python(form: Format, inputs: Mapping[str, int]) -> str:
    """Lines of Python that draw the image (H, W, C) in [-1,1] of seed 7 from a file in the current folder.

    `inputs`: the `input_name` and the length of each of the generator's inputs. The class is the first one. Of
    attributes, the image has only the first one.
    """
    z = f'"z": np.random.default_rng(7).standard_normal((1, {inputs["z"]}), np.float32)'
    classes = [f'"{name}": np.eye(1, {length}, dtype=np.float32)' for name, length in inputs.items() if name != "z"]
    return "\n".join(
        (
            form.imports,
            "",
            f"inputs = {{{', '.join((z, *classes))}}}",
            f"generator = {form.opens}",
            f"image = {form.draws}",
        )
    )


_TFLITE_IMPORTS = "import numpy as np, ai_edge_litert.interpreter as litert"
_TFLITE_DRAWS = 'generator(**inputs)["image"][0]'
FORMATS = (
    Format(
        "generator.keras",
        "keras tensorflow",
        0.0,
        _write_keras,
        _load_keras,
        "import keras, numpy as np",
        'keras.saving.load_model("generator.keras", compile=False)',
        "generator.predict(list(inputs.values()), verbose=0)[0]",
    ),
    Format(
        "saved_model",
        "tensorflow",
        _ROUNDING,
        _write_saved_model,
        _load_saved_model,
        "import numpy as np, tensorflow as tf",
        'tf.saved_model.load("saved_model").signatures["serving_default"]',
        'generator(**{k: tf.constant(v) for k, v in inputs.items()})["image"].numpy()[0]',
    ),
    Format(
        "generator.onnx",
        "onnxruntime",
        _ROUNDING,
        _write_onnx,
        _load_onnx,
        "import numpy as np, onnxruntime",
        'onnxruntime.InferenceSession("generator.onnx")',
        'generator.run(["image"], inputs)[0][0]',
    ),
    Format(
        "generator.tflite",
        "ai-edge-litert",
        _ROUNDING,
        _tflite_writer(half=False),
        _load_tflite,
        _TFLITE_IMPORTS,
        'litert.Interpreter("generator.tflite").get_signature_runner()',
        _TFLITE_DRAWS,
    ),
    Format(
        "generator_float16.tflite",
        "ai-edge-litert",
        _HALF_ROUNDING,
        _tflite_writer(half=True),
        _load_tflite,
        _TFLITE_IMPORTS,
        'litert.Interpreter("generator_float16.tflite").get_signature_runner()',
        _TFLITE_DRAWS,
    ),
)
