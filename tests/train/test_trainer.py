"""The training step: the two updates, the moving average, determinism."""

import dataclasses
from collections.abc import Callable, Iterable

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.errors import StageError
from stages.networks.settings import DiscriminatorSettings, GeneratorSettings
from stages.train.adam import Adam
from stages.train.augment import transforms
from stages.train.augment.settings import AugmentSettings
from stages.train.losses.catalog import LOSSES
from stages.train.losses.settings import LossSettings
from stages.train.schedules import scheduled
from stages.train.settings import AverageSettings, OptimizerSettings, Settings
from stages.train.trainer import Trainer, _Pass, ema_decay

SETTINGS = Settings(
    images=80,
    batch_size=8,
    generator=GeneratorSettings(channels=4),
    discriminator=DiscriminatorSettings(channels=4),
    average=AverageSettings(20_000.0, rampup=1.0),
)


def pictures(count: int = 80) -> tf.data.Dataset:
    images = np.random.default_rng(0).uniform(-1, 1, (count, 16, 16, 1)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((images, np.zeros(count, np.int64))).batch(8)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


def test_the_magnitudes_are_the_weights_root_mean_square_and_the_norm_of_the_gradient() -> None:
    trainer = Trainer(SETTINGS, 16, 1)
    g, d, formulas = trainer.generator, trainer.discriminator, LOSSES[SETTINGS.loss.name].formulas
    fake = g(tf.random.stateless_normal((8, 100), [SETTINGS.seed, 0]), training=True)
    real, _ = next(iter(pictures()))
    with tf.GradientTape() as tape:
        value = formulas.discriminator(d(real, training=True), d(fake, training=True))
    norm = float(tf.linalg.global_norm(tape.gradient(value, d.trainable_variables)))
    trainer.run(iter(pictures()), 0, 1)
    magnitudes = trainer.magnitudes()
    assert magnitudes["discriminator"].gradients == pytest.approx(norm, rel=1e-3)
    for network in (g, d):
        flat = np.concatenate([weight.ravel() for weight in weights(network)])
        assert magnitudes[network.name].weights == pytest.approx(np.sqrt((flat**2).mean()), rel=1e-4)


@pytest.mark.parametrize("updates", [pytest.param("simultaneous", marks=pytest.mark.slow), "alternating"])
@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.penalty])
def test_a_step_equals_two_plain_adam_updates(loss: str, updates: str) -> None:
    """Alternating: G's update uses the updated D. Simultaneous: it uses D from before the update."""
    formulas, smoothing = LOSSES[loss].formulas, 0.1 if LOSSES[loss].smoothing else 0.0
    settings = dataclasses.replace(
        SETTINGS,
        loss=LossSettings(loss, smoothing),
        optimizer=OptimizerSettings(generator_learning_rate=1e-3, discriminator_learning_rate=1e-3, updates=updates),  # type: ignore[arg-type]
    )
    trainer, expected = Trainer(settings, 16, 1), Trainer(settings, 16, 1)
    g, d, adam = expected.generator, expected.discriminator, settings.optimizer
    z = tf.random.stateless_normal((8, 100), [settings.seed, 0])
    real, _ = next(iter(pictures()))

    def descend(network: keras.Model, rate: float, gradients: list[tf.Tensor]) -> None:
        optimizer = keras.optimizers.Adam(rate, adam.beta_1, adam.beta_2)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    def update_d() -> None:
        with tf.GradientTape() as tape:
            outputs = d(real, training=True), d(g(z, training=True), training=True)
            value = formulas.discriminator(*outputs, smoothing)
        descend(d, 1e-3, tape.gradient(value, d.trainable_variables))

    def update_g(before_d: bool) -> None:
        with tf.GradientTape() as tape:
            value = formulas.generator(d(real, training=True), d(g(z, training=True), training=True))
        gradients = tape.gradient(value, g.trainable_variables)
        if before_d:
            update_d()
        descend(g, 1e-3, gradients)

    if updates == "alternating":
        update_d()
    update_g(before_d=updates == "simultaneous")

    trainer.run(iter(pictures()), 0, 1)
    for ours, theirs in ((trainer.generator, g), (trainer.discriminator, d)):
        for a, b in zip(weights(ours), weights(theirs), strict=True):
            assert np.allclose(a, b, atol=2e-6)


def test_the_weights_do_not_depend_on_how_many_steps_a_call_takes() -> None:
    results = []
    for portions in ([10], [3, 7], [1] * 10):
        trainer, batches, done = Trainer(SETTINGS, 16, 1), iter(pictures()), 0
        for count in portions:
            trainer.run(batches, done, count)
            done += count
        results.append([w.tobytes() for m in (trainer.average, trainer.discriminator) for w in m.get_weights()])
    assert results[0] == results[1] == results[2]


def test_two_seeds_give_two_generators() -> None:
    a, b = (Trainer(dataclasses.replace(SETTINGS, seed=seed), 16, 1) for seed in (0, 1))
    assert not np.array_equal(weights(a.generator)[0], weights(b.generator)[0])


def test_run_returns_the_means_over_its_steps() -> None:
    a, b = Trainer(SETTINGS, 16, 1), Trainer(SETTINGS, 16, 1)
    batches = iter(pictures())
    single = [a.run(batches, i, 1) for i in range(4)]
    together = b.run(iter(pictures()), 0, 4)
    for name, value in together.items():
        assert value == pytest.approx(np.mean([step[name] for step in single]), rel=1e-5)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (64, 0.5 ** (64 / 6.4)),  # at first a tenth of the images seen
        (10_000, 0.5 ** (64 / 1000)),
        (1_000_000, 0.5 ** (64 / 5000)),  # later the half-life itself
    ],
)
def test_the_half_life_of_the_average_grows_with_the_images_seen(images: int, expected: float) -> None:
    assert float(ema_decay(tf.constant(float(images)), 64, 5000.0, 0.1)) == pytest.approx(expected, rel=1e-5)


def test_the_average_follows_the_generators_weights_and_running_statistics() -> None:
    trainer = Trainer(SETTINGS, 16, 1)
    average = [w.copy() for w in trainer.average.get_weights()]
    batches = iter(pictures())
    for i in range(3):
        trainer.run(batches, i, 1)
        decay = 0.5 ** (8 / (8 * (i + 1)))
        average = [a * decay + w * (1 - decay) for a, w in zip(average, trainer.generator.get_weights(), strict=True)]
    for ours, expected in zip(trainer.average.get_weights(), average, strict=True):
        assert np.allclose(ours, expected, atol=1e-6)


def test_the_learning_rate_falls_to_zero_over_the_last_share() -> None:
    optimizer = OptimizerSettings(generator_learning_rate=2e-4, learning_rate_decay=0.5)
    trainer = Trainer(dataclasses.replace(SETTINGS, optimizer=optimizer), 16, 1)
    schedule = trainer._optimizers["generator"]._learning_rate
    assert [float(schedule(step)) for step in (0, 5, 10)] == pytest.approx([2e-4, 2e-4, 0.0])
    assert float(schedule(8)) == pytest.approx(0.4 * 2e-4)


@pytest.mark.parametrize("updates", ["alternating", pytest.param("simultaneous", marks=pytest.mark.slow)])
def test_d_is_updated_on_a_new_batch_as_often_as_the_settings_say_and_g_once(updates: str) -> None:
    optimizer = OptimizerSettings(discriminator_steps=3, updates=updates)  # type: ignore[arg-type]
    trainer, read = Trainer(dataclasses.replace(SETTINGS, optimizer=optimizer), 16, 1), []
    assert trainer.steps == 80 // 24

    def batches() -> object:
        for i, batch in enumerate(pictures()):
            read.append(i)
            yield batch

    source = tf.data.Dataset.from_generator(
        batches, output_signature=(tf.TensorSpec((8, 16, 16, 1)), tf.TensorSpec((8,), tf.int64))
    )
    trainer.run(iter(source), 0, 2)
    assert read[:6] == list(range(6))
    counts = {name: int(optimizer.iterations.numpy()) for name, optimizer in trainer._optimizers.items()}
    assert counts == {"generator": 2, "discriminator": 6}


def test_the_penalty_bounds_the_slope_of_d() -> None:
    """Without it D's mean outputs for real and fake images drift apart. With a heavy one they stay close."""
    gaps = {}
    for weight in (0.0, 100.0):
        changed = dataclasses.replace(
            SETTINGS,
            discriminator=DiscriminatorSettings(channels=4, norm="none"),
            loss=LossSettings("wasserstein_gp", gradient_penalty=weight),
            optimizer=OptimizerSettings(discriminator_learning_rate=0.01),
        )
        means = Trainer(changed, 16, 1).run(iter(pictures().repeat()), 0, 40)
        gaps[weight] = means["output/real"] - means["output/fake"]
    assert gaps[100.0] < 0.2 * gaps[0.0]


def updated_by_hand(settings: Settings, terms: Callable[..., Iterable[tf.Tensor]]) -> tuple[list[np.ndarray], ...]:
    """The networks' weights after one step of Adam on the first batch: at the start, Adam moves a weight by its rate.

    `terms` are those of D's loss, from D's outputs and its gradients at real and fake images.
    """
    expected = Trainer(settings, 16, 1)
    g, d, formulas = expected.generator, expected.discriminator, LOSSES[settings.loss.name].formulas
    names, probability = settings.augment.transforms, settings.augment.probability

    def seen(images: tf.Tensor, kind: int) -> tf.Tensor:
        return transforms.apply(names, images, transforms.draw(0, tf.constant(0), kind, 8, len(names)), probability)

    def sampled() -> tf.Tensor:
        return seen(g(tf.random.stateless_normal((8, 100), [settings.seed, 0]), training=True), transforms.FAKE)

    real, fake = seen(next(iter(pictures()))[0], transforms.REAL), sampled()
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch((real, fake))
            outputs = [d(images, training=True) for images in (real, fake)]
        value = tf.add_n(list(terms(*outputs, *inner.gradient(outputs, (real, fake)))))
    d_gradients = outer.gradient(value, d.trainable_variables)

    def move(network: keras.Model, gradients: list[tf.Tensor]) -> None:
        for weight, gradient in zip(network.trainable_variables, gradients, strict=True):
            weight.assign_sub(1e-3 * gradient / (abs(gradient) + 1e-7 / np.sqrt(1 - 0.999)))

    if settings.optimizer.updates == "alternating":
        move(d, d_gradients)
    with tf.GradientTape() as tape:
        value = formulas.generator(d(real, training=True), d(sampled(), training=True))
    move(g, tape.gradient(value, g.trainable_variables))
    if settings.optimizer.updates == "simultaneous":
        move(d, d_gradients)
    return weights(g), weights(d)


ALL_TRANSFORMS = tuple(transforms.TRANSFORMS)
AUGMENTED = AugmentSettings(ALL_TRANSFORMS, probability=0.7)


@pytest.mark.parametrize(
    ("updates", "every", "augment", "minibatch_std"),
    [
        ("alternating", 2, AugmentSettings(), True),
        pytest.param("simultaneous", 1, AugmentSettings(), False, marks=pytest.mark.slow),
        pytest.param("alternating", 1, AUGMENTED, False, marks=pytest.mark.slow),
        ("simultaneous", 1, AUGMENTED, False),
        ("simultaneous", 1, AugmentSettings(), True),
    ],
)
def test_a_step_with_r1_and_r2_equals_one_by_hand(
    updates: str, every: int, augment: AugmentSettings, minibatch_std: bool
) -> None:
    """A lazy penalty has `every` times its weight. With an augmentation it is at the images that D sees."""
    settings = dataclasses.replace(
        SETTINGS,
        augment=augment,
        discriminator=DiscriminatorSettings(channels=4, norm="layer", initializer="he", minibatch_std=minibatch_std),
        loss=LossSettings("relativistic", r1=2.0 / every, r2=3.0 / every, penalty_every=every),
        optimizer=OptimizerSettings(1e-3, 1e-3, updates=updates),  # type: ignore[arg-type]
    )

    def terms(real: tf.Tensor, fake: tf.Tensor, real_slopes: tf.Tensor, fake_slopes: tf.Tensor) -> Iterable[tf.Tensor]:
        yield tf.reduce_mean(tf.math.log(1 + tf.exp(fake - real)))
        yield 2.0 / 2 * tf.reduce_sum(real_slopes**2) / 8
        yield 3.0 / 2 * tf.reduce_sum(fake_slopes**2) / 8

    trainer = Trainer(settings, 16, 1)
    trainer.run(iter(pictures()), 0, 1)
    expected = updated_by_hand(settings, terms)
    for ours, theirs in zip((trainer.generator, trainer.discriminator), expected, strict=True):
        for a, b in zip(weights(ours), theirs, strict=True):
            assert np.allclose(a, b, atol=5e-6)


def test_a_step_between_two_lazy_penalties_is_one_without_them() -> None:
    discriminator, trainers = DiscriminatorSettings(channels=4, norm="none"), []
    for loss in (LossSettings("non_saturating", r1=10.0, penalty_every=2), LossSettings("non_saturating")):
        trainers.append(Trainer(dataclasses.replace(SETTINGS, discriminator=discriminator, loss=loss), 16, 1))
        trainers[-1].run(iter(pictures()), 1, 1)
    for a, b in zip(*(weights(trainer.discriminator) for trainer in trainers), strict=True):
        assert np.allclose(a, b, atol=1e-7)


def test_a_step_without_the_lazy_penalty_does_not_compute_it() -> None:
    """The gradient of the gradient is in a branch of the graph, and the other branch is a constant."""
    discriminator = DiscriminatorSettings(channels=4, norm="none")
    loss = LossSettings("non_saturating", r1=1.0, penalty_every=2)
    trainer = Trainer(dataclasses.replace(SETTINGS, discriminator=discriminator, loss=loss), 16, 1)

    @tf.function
    def penalty(images: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        passed = _Pass(trainer.discriminator, images)
        return trainer._penalty(passed, passed, number)

    graph = penalty.get_concrete_function(tf.TensorSpec((8, 16, 16, 1)), tf.TensorSpec((), tf.int32)).graph
    (branch,) = [node for node in graph.as_graph_def().node if node.op in ("If", "StatelessIf")]
    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    operations = {
        name: {node.op for node in library[branch.attr[name].func.name].node_def}
        for name in ("then_branch", "else_branch")
    }
    assert "Conv2DBackpropInput" in operations["then_branch"]
    assert not {name for name in operations["else_branch"] if "Conv" in name}


def test_adam_with_a_moving_beta_2_equals_numpy() -> None:
    """Its bias correction divides by the sum of the weights of the squared gradients, which is 1 − ∏ β2."""
    gradients = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    beta_2 = np.array([0.9, 0.92, 0.95, 0.98, 0.99, 0.99])
    rates = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.1])
    weight = keras.Variable([1.0, 2.0, 3.0])
    adam = Adam(_Steps(rates), 0.5, _Steps(beta_2))
    adam.build([weight])
    expected = np.array([1.0, 2.0, 3.0])
    for t, gradient in enumerate(gradients):
        adam.apply([tf.constant(gradient)], [weight])
        shares = [(1 - beta_2[i]) * np.prod(beta_2[i + 1 : t + 1]) for i in range(t + 1)]
        mean_square = np.average(gradients[: t + 1] ** 2, axis=0, weights=shares)
        mean = np.average(gradients[: t + 1], axis=0, weights=0.5 ** np.arange(t, -1, -1))
        # Keras adds ε before the bias correction.
        expected -= rates[t] * mean / (np.sqrt(mean_square) + 1e-7 / np.sqrt(sum(shares)))
        assert np.allclose(weight.numpy(), expected, rtol=1e-5)


class _Steps(keras.optimizers.schedules.LearningRateSchedule):
    """The value of each step, from a list."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = tf.constant(values, tf.float32)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The value at a step."""
        return self.values[int(step)]


@pytest.mark.parametrize(("images", "share"), [(0, 0), (25, (1 - 0.5**0.5) / 2), (50, 0.5), (100, 1), (1000, 1)])
def test_a_pair_moves_from_its_start_to_its_end_along_a_cosine(images: int, share: float) -> None:
    value = scheduled((4.0, 2.0), tf.constant(float(images)), 100)
    assert float(value) == pytest.approx(4 - 2 * share)
    assert float(scheduled(3.0, tf.constant(float(images)), 0)) == 3


def test_the_rates_warm_up_and_move_by_the_images_that_each_network_has_seen() -> None:
    optimizer = OptimizerSettings((4e-3, 2e-3), 1e-3, warmup=32, burn_in=64, discriminator_steps=2)
    trainer = Trainer(dataclasses.replace(SETTINGS, optimizer=optimizer), 16, 1)
    g, d = (trainer._optimizers[name]._learning_rate for name in ("generator", "discriminator"))
    assert [float(d(step)) for step in (0, 1, 3, 7)] == pytest.approx([0.25e-3, 0.5e-3, 1e-3, 1e-3])
    assert [float(g(step)) for step in (1, 3)] == pytest.approx([3e-3, 2e-3]), "16 images a step"
    assert float(g(0)) == pytest.approx(0.5 * (4e-3 - 2e-3 * (1 - 0.5**0.5) / 2))


def test_the_outputs_of_a_paired_loss_are_probabilities_of_being_the_real_one() -> None:
    settings = dataclasses.replace(SETTINGS, loss=LossSettings("relativistic"))
    means = Trainer(settings, 16, 1).run(iter(pictures()), 0, 1)
    other = Trainer(settings, 16, 1)
    real, _ = next(iter(pictures()))
    fake = other.generator(tf.random.stateless_normal((8, 100), [0, 0]), training=True)
    gaps = other.discriminator(real, training=True) - other.discriminator(fake, training=True)
    assert means["output/real"] == pytest.approx(float(tf.reduce_mean(1 / (1 + tf.exp(-gaps)))), rel=1e-5)
    assert means["output/real"] + means["output/fake"] == pytest.approx(1)


def test_training_continues_from_a_restored_state_to_the_same_bits_even_if_it_is_longer() -> None:
    settings = dataclasses.replace(
        SETTINGS,
        augment=AugmentSettings(ALL_TRANSFORMS),
        discriminator=DiscriminatorSettings(channels=4, norm="spectral", minibatch_std=True),
        loss=LossSettings("relativistic", r1=(1.0, 0.1), r2=0.5, penalty_every=3),
        optimizer=OptimizerSettings((1e-3, 1e-4), warmup=24, burn_in=48, beta_2=(0.9, 0.99)),
    )
    whole, resumed = Trainer(settings, 16, 1), Trainer(dataclasses.replace(settings, images=160), 16, 1)
    batches = iter(pictures())
    whole.probability = 0.6
    whole.run(batches, 0, 4)
    state = {name: array.copy() for name, array in whole.state().items()}
    whole.run(batches, 4, 6)
    resumed.restore(state)
    resumed.run(iter(pictures().skip(4)), 4, 6)
    assert {name: array.tobytes() for name, array in resumed.state().items()} == {
        name: array.tobytes() for name, array in whole.state().items()
    }


def test_minibatch_std_needs_groups_of_4_in_a_batch() -> None:
    discriminator = DiscriminatorSettings(minibatch_std=True)
    message = "^batch_size: expected a multiple of 4, since discriminator.minibatch_std is true, got 6$"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SETTINGS, discriminator=discriminator, batch_size=6)


def test_a_checkpoint_of_another_network_is_rejected() -> None:
    trainer = Trainer(SETTINGS, 16, 1)
    before = trainer.state()
    other = Trainer(dataclasses.replace(SETTINGS, generator=GeneratorSettings(channels=2)), 16, 1).state()
    with pytest.raises(StageError, match=r"the checkpoint is of another network: generator/\d+ is \(.*\), expected \("):
        trainer.restore(other)
    assert all(np.array_equal(array, trainer.state()[name]) for name, array in before.items()), (
        "the weights are unchanged"
    )


def test_a_rollback_restores_the_weights_but_not_the_step() -> None:
    settings = dataclasses.replace(SETTINGS, optimizer=OptimizerSettings(discriminator_steps=2))
    trainer, batches = Trainer(settings, 16, 1), iter(pictures().repeat())
    trainer.run(batches, 0, 1)
    state = trainer.state()
    trainer.run(batches, 1, 2)
    trainer.roll_back(state, 3, 0.25)
    for name in ("generator/000", "discriminator_optimizer/003", "average/000"):
        assert np.array_equal(trainer.state()[name], state[name])
    assert [int(o.iterations.numpy()) for o in trainer._optimizers.values()] == [3, 6]
    assert float(trainer._optimizers["generator"].learning_rate) == pytest.approx(0.25 * 2e-4)


def test_the_networks_to_save_compute_in_float32() -> None:
    trainer = Trainer(dataclasses.replace(SETTINGS, precision="mixed_bfloat16"), 16, 1)
    trainer.run(iter(pictures()), 0, 2)
    g, d = trainer.networks(trainer.average.get_weights(), trainer.discriminator.get_weights())
    assert {layer.compute_dtype for network in (g, d) for layer in network.layers} == {"float32"}
    for ours, theirs in zip(g.get_weights(), trainer.average.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_an_adaptive_probability_of_0_gives_the_weights_of_a_training_without_augmentation() -> None:
    states = []
    for augment in (AugmentSettings(), AugmentSettings(ALL_TRANSFORMS)):
        trainer = Trainer(dataclasses.replace(SETTINGS, augment=augment), 16, 1)
        trainer.run(iter(pictures()), 0, 4)
        states.append(trainer.state())
    for name, array in states[0].items():
        assert np.allclose(array, states[1][name], atol=1e-6), name


def test_the_mean_output_of_d_is_that_of_its_inference_mode_and_changes_nothing() -> None:
    trainer, images = Trainer(SETTINGS, 16, 1), np.concatenate([batch for batch, _ in pictures()])
    before = trainer.state()
    expected = trainer.discriminator(images, training=False).numpy().mean(dtype=np.float64)
    assert trainer.mean_output(images) == pytest.approx(expected, rel=1e-4)
    assert all(np.array_equal(array, before[name]) for name, array in trainer.state().items())


def test_the_mean_output_of_d_is_for_augmented_images() -> None:
    settings = dataclasses.replace(SETTINGS, augment=AugmentSettings(("colour",), probability=1.0))
    trainer, images = Trainer(settings, 16, 1), np.concatenate([batch for batch, _ in pictures()])
    numbers = transforms.draw(0, tf.constant(0), transforms.MEASURED, 80, 1)
    outputs = trainer.discriminator(transforms.apply(["colour"], images, numbers, 1.0), training=False)
    assert trainer.mean_output(images) == pytest.approx(float(tf.reduce_mean(outputs)), rel=1e-4)
