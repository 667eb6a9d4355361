"""The model card's YAML front matter, as the Hugging Face Hub reads it, with a section for the project's own tools.

The Hub's keys: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. `provenance` is not one of them; the Hub
ignores it, and `make whence` reads it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from stages.report.contents import Contents, Difference

_TASK = "unconditional-image-generation"
# The Hub's identifiers for the licences of data sets. Any other licence becomes `other`.
_LICENCES = (
    *("mit", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "cc", "cc0-1.0"),
    *("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0"),
    *("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0"),
    *("c-uda", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "odc-by", "odbl", "pddl", "unlicense"),
)
# The params of prepare that whoever compares other images with the samples has to follow.
_PREPARATION = ("crop", "fit", "resample", "background")
# The Hub's names for the data sets of stages/download/catalog.yaml, if it has them.
_DATA_SETS = {
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "mnist": "ylecun/mnist",
    "cifar10": "uoft-cs/cifar10",
}


class _Dumper(yaml.SafeDumper):
    """YAML that quotes text with `<` or a line break, which lets `front_matter` escape it."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if re.search("[<\n]", text) else None
    ),
)


def front_matter(contents: Contents, title: str, preset: str, differences: Sequence[Difference]) -> str:
    """The front matter with its `---` lines. Names from the data are neither YAML nor HTML in it."""
    source = contents.data.source
    hub = _DATA_SETS.get(source["name"])
    keys = {
        **license_keys(source["licence"], source.get("homepage", "")),
        "library_name": "keras",
        "pipeline_tag": _TASK,
        "tags": ["dcgan", "gan", "image-generation"],
        **({"datasets": [hub]} if hub else {}),
        "metrics": [metric.name for metric, _ in contents.measured if metric.headline],
        "model-index": [_results(contents, title, hub or source["name"])],
        "provenance": _provenance(contents, preset, differences),
    }
    return fenced(keys)


def fenced(keys: Mapping[str, Any]) -> str:
    """Keys as front matter with its `---` lines, in which text is no HTML."""
    text = yaml.dump(dict(keys), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{text.replace('<', chr(92) + 'x3C')}---\n"


def license_keys(licence: str, homepage: str) -> dict[str, str]:
    """The Hub's keys for a licence: MIT is mit, and CC BY-SA 3.0 is cc-by-sa-3.0."""
    identifier = re.sub(r"[^\w.]+", "-", licence.lower()).strip("-")
    if identifier in _LICENCES:
        return {"license": identifier}
    return {"license": "other", "license_name": identifier, **({"license_link": homepage} if homepage else {})}


def _results(contents: Contents, title: str, data_set: str) -> dict[str, Any]:
    metrics = [{"type": metric.name, "name": metric.label, "value": value} for metric, value in contents.measured]
    return {
        "name": title,
        "results": [
            {
                "task": {"type": _TASK, "name": "Unconditional image generation"},
                "dataset": {"type": data_set, "name": contents.data.source["title"]},
                "metrics": metrics,
            }
        ],
    }


def _provenance(contents: Contents, preset: str, differences: Sequence[Difference]) -> dict[str, Any]:
    model, source = contents.model, contents.data.source
    return {
        "data": {name: source.get(name, "") for name in ("title", "homepage", "licence", "citation")},
        "manifest_sha256": contents.protocol["data_manifest_sha256"],
        "shape": list(contents.data.shape),
        "preparation": {name: contents.data.params[name] for name in _PREPARATION if name in contents.data.params},
        "generator_sha256": model["generator"]["sha256"],
        "discriminator_sha256": model["discriminator"]["sha256"],
        "checkpoint": {"images_seen": model["best_images_seen"], "of": model["images_seen"]},
        "preset": preset,
        "params": {difference.name: difference.here for difference in differences},
        "seed": model["params"]["seed"],
        "environment": model["environment"],
    }
