"""The recipe of a training in words, from the params in models/model.json."""

from typing import Any

# The names of the params that do not read well as they are.
_LOSSES = {"wasserstein_gp": "Wasserstein"}
_NORMS = {"none": "no norm", "batch_all": "batch norm on every layer"}


def recipe(train: dict[str, Any]) -> str:
    """The recipe in one line: loss, layers, optimizers, batches and average. `train` is the section of the params."""
    loss, optimizer = train["loss"], train["optimizer"]
    beta_2 = _value(optimizer["beta_2"], optimizer["burn_in"])
    parts = (
        f"{_LOSSES.get(loss['name'], loss['name'].replace('_', '-'))} loss{_penalties(loss, optimizer['burn_in'])}",
        f"label smoothing {loss['label_smoothing']:g}" if loss["label_smoothing"] else "",
        _augmentation(train["augment"]),
        _conditional(train),
        _norms(train["generator"]["norm"], train["discriminator"]["norm"]),
        _hidden(train["generator"]["stem"] in ("dense", "both"), train["discriminator"]["head"] == "dense"),
        "z beside the generator's hidden layer" if train["generator"]["stem"] == "both" else "",
        "minibatch standard deviation" if train["discriminator"].get("minibatch_std") else "",  # not in older models
        f"Adam (β {optimizer['beta_1']:g} and {beta_2})",
        *_rates(optimizer),
        f"{optimizer['discriminator_steps']} steps of the discriminator per step of the generator"
        if optimizer["discriminator_steps"] > 1
        else "",
        "simultaneous updates" if optimizer["updates"] == "simultaneous" else "",
        f"batches of {train['batch_size']:,}",
        _average(train["average"]["halflife"]),
    )
    return ", ".join(filter(None, parts))


def _penalties(loss: dict[str, Any], burn_in: int) -> str:
    """The gradient penalties. Those with the same weight share one mention of it."""
    weights = {name: f"γ {_value(loss[key], burn_in)}" for name, key in (("R1", "r1"), ("R2", "r2")) if loss[key]}
    if loss["name"] == "wasserstein_gp":
        weights["a gradient penalty"] = f"λ {loss['gradient_penalty']:g}"
    every = f", every {loss['penalty_every']} steps" if loss["penalty_every"] > 1 else ""
    names: dict[str, list[str]] = {}
    for name, weight in weights.items():
        names.setdefault(weight, []).append(name)
    texts = [f"{' and '.join(those)} ({weight}{every})" for weight, those in names.items()]
    return " with " + " and ".join(texts) if texts else ""


def _augmentation(augment: dict[str, Any]) -> str:
    """The transforms of what the discriminator sees, and their probability; empty without augmentation."""
    if not augment["transforms"]:
        return ""
    *others, last = augment["transforms"]
    names = f"{', '.join(others)} and {last}" if others else last
    if augment["probability"] == "adaptive":
        return f"adaptive augmentation ({names}; over-fitting {augment['target']:g})"
    return f"augmentation ({names}; probability {augment['probability']:g})"


def _conditional(train: dict[str, Any]) -> str:
    """How the networks get the classes or attributes; empty for unconditional networks.

    Models from before the param are unconditional.
    """
    if train.get("conditional", "none") == "none":
        return ""
    norm = ", a conditional norm" if train["generator"]["class_norm"] else ""
    shares = ", all classes equally often" if train["class_shares"] == "equal" else ""
    given = "attributes" if train["conditional"] == "attributes" else "class"
    return f"conditional on the {given} (an embedding beside z{norm} and a projection in the discriminator{shares})"


def _norms(generator: str, discriminator: str) -> str:
    first, second = (_NORMS.get(norm, f"{norm} norm") for norm in (generator, discriminator))
    if first == second:
        return f"{first} in both networks"
    return f"{first} in the generator and {second} in the discriminator"


def _hidden(generator: bool, discriminator: bool) -> str:
    """The networks with a fully connected hidden layer. The paper's DCGAN has none."""
    networks = {(True, True): "both networks", (True, False): "the generator", (False, True): "the discriminator"}
    found = networks.get((generator, discriminator))
    return f"a fully connected hidden layer in {found}" if found else ""


def _rates(optimizer: dict[str, Any]) -> tuple[str, ...]:
    """The learning rates, their warm-up and their decay."""
    generator, discriminator = (
        _value(optimizer[f"{network}_learning_rate"], optimizer["burn_in"])
        for network in ("generator", "discriminator")
    )
    warmup, decay = optimizer["warmup"], optimizer["learning_rate_decay"]
    return (
        f"learning rate {generator}"
        if generator == discriminator
        else f"learning rates {generator} (generator) and {discriminator} (discriminator)",
        f"warm-up over {warmup:,} images" if warmup else "",
        f"decay to 0 in the last {100 * decay:g} % of the training" if decay else "",
    )


def _average(halflife: float) -> str:
    if halflife < 1:  # the average is then the last weights, to within rounding
        return "no average of the generator's weights"
    return f"an average of the generator's weights with a half-life of {halflife:,.0f} images"


def _value(value: float | list[float], burn_in: int) -> str:
    """A number, or a pair [start, end] with the images over which it changes."""
    if not isinstance(value, list):
        return f"{value:g}"
    start, end = value
    return f"{start:g} {'falling' if end < start else 'rising'} to {end:g} over {burn_in:,} images"
