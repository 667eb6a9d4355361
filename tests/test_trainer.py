"""The training step: whose turn it is, the average, the same weights again."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from stages.train.losses import discriminator_loss, minimax, non_saturating
from stages.train.settings import Settings
from stages.train.trainer import Trainer, ema_decay

SETTINGS = Settings(generator_channels=4, discriminator_channels=4, batch_size=8, images=80, ema_rampup=1.0)


def pictures(count: int = 80) -> tf.data.Dataset:
    images = np.random.default_rng(0).uniform(-1, 1, (count, 16, 16, 1)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((images, np.zeros(count, np.int64))).batch(8)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.parametrize(("loss", "generator_loss"), [("non_saturating", non_saturating), ("minimax", minimax)])
def test_d_steps_first_and_g_answers_the_new_d(loss: str, generator_loss: object) -> None:
    settings = dataclasses.replace(SETTINGS, loss=loss, label_smoothing=0.1)  # type: ignore[arg-type]
    trainer, expected = Trainer(settings, 16, 1), Trainer(settings, 16, 1)
    g, d = expected.generator, expected.discriminator
    z = tf.random.stateless_normal((8, 100), [settings.seed, 0])
    real, _ = next(iter(pictures()))
    with tf.GradientTape() as tape:
        value = discriminator_loss(d(real, training=True), d(g(z, training=True), training=True), 0.1)
    adam = keras.optimizers.Adam(settings.learning_rate, settings.beta_1, settings.beta_2)
    adam.apply_gradients(zip(tape.gradient(value, d.trainable_variables), d.trainable_variables, strict=True))
    with tf.GradientTape() as tape:
        value = generator_loss(d(g(z, training=True), training=True))  # type: ignore[operator]
    adam = keras.optimizers.Adam(settings.learning_rate, settings.beta_1, settings.beta_2)
    adam.apply_gradients(zip(tape.gradient(value, g.trainable_variables), g.trainable_variables, strict=True))

    trainer.run(iter(pictures()), 0, 1)
    for ours, theirs in ((trainer.generator, g), (trainer.discriminator, d)):
        for a, b in zip(weights(ours), weights(theirs), strict=True):
            assert np.allclose(a, b, atol=2e-6)


def test_the_same_settings_give_the_same_weights_in_any_portions() -> None:
    results = []
    for portions in ([10], [3, 7], [1] * 10):
        trainer, batches, done = Trainer(SETTINGS, 16, 1), iter(pictures()), 0
        for count in portions:
            trainer.run(batches, done, count)
            done += count
        results.append([w.tobytes() for m in (trainer.average, trainer.discriminator) for w in m.get_weights()])
    assert results[0] == results[1] == results[2]


def test_another_seed_gives_another_generator() -> None:
    a, b = (Trainer(dataclasses.replace(SETTINGS, seed=seed), 16, 1) for seed in (0, 1))
    assert not np.array_equal(weights(a.generator)[0], weights(b.generator)[0])


def test_what_is_reported_is_the_mean_over_the_steps() -> None:
    a, b = Trainer(SETTINGS, 16, 1), Trainer(SETTINGS, 16, 1)
    batches = iter(pictures())
    single = [a.run(batches, i, 1) for i in range(4)]
    together = b.run(iter(pictures()), 0, 4)
    for name, value in together.items():
        assert value == pytest.approx(np.mean([step[name] for step in single]), rel=1e-5)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (64, 0.5 ** (64 / 6.4)),  # at the start a tenth of the images seen
        (10_000, 0.5 ** (64 / 1000)),
        (1_000_000, 0.5 ** (64 / 5000)),  # later the half-life itself
    ],
)
def test_the_averages_halflife_ramps_up(images: int, expected: float) -> None:
    assert float(ema_decay(tf.constant(float(images)), 64, 5000.0, 0.1)) == pytest.approx(expected, rel=1e-5)


def test_the_average_follows_the_generator_running_statistics_too() -> None:
    trainer = Trainer(SETTINGS, 16, 1)
    average = [w.copy() for w in trainer.average.get_weights()]
    batches = iter(pictures())
    for i in range(3):
        trainer.run(batches, i, 1)
        decay = 0.5 ** (8 / (8 * (i + 1)))
        average = [a * decay + w * (1 - decay) for a, w in zip(average, trainer.generator.get_weights(), strict=True)]
    for ours, expected in zip(trainer.average.get_weights(), average, strict=True):
        assert np.allclose(ours, expected, atol=1e-6)


def test_the_rate_falls_to_zero_over_its_last_part() -> None:
    trainer = Trainer(dataclasses.replace(SETTINGS, learning_rate_decay=0.5), 16, 1)
    schedule = trainer._optimizers["generator"]._learning_rate
    assert [float(schedule(step)) for step in (0, 5, 10)] == pytest.approx([2e-4, 2e-4, 0.0])
    assert float(schedule(8)) == pytest.approx(0.4 * 2e-4)
