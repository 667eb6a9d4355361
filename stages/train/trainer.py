"""The training step of a DCGAN and everything it changes: two networks, two optimizers, the generator's average."""

from collections.abc import Iterator

import keras
import tensorflow as tf

from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.train.losses import GENERATOR_LOSSES, discriminator_loss
from stages.train.settings import Settings


class _LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A constant rate, then a straight line to zero over the last `share` of `steps`."""

    def __init__(self, rate: float, steps: int, share: float) -> None:
        self.rate, self.steps, self.share = rate, steps, share

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate at a step."""
        left = 1 - tf.cast(step, tf.float32) / self.steps
        return self.rate * tf.clip_by_value(left / self.share, 0.0, 1.0)


def ema_decay(images: tf.Tensor, batch_size: int, halflife: float, rampup: float) -> tf.Tensor:
    """What the average keeps of itself in a step, after `images` (float, > 0) images.

    Karras et al. 2020 (arXiv:2006.06676), as in their code. Its half-life is `halflife` images,
    but at most `rampup` times the images seen so far.
    """
    return 0.5 ** (batch_size / tf.minimum(halflife, rampup * images))


class Trainer:
    """Two networks that learn in turn; `run` takes as many steps as it is told in one call of a compiled graph."""

    def __init__(self, settings: Settings, size: int, channels: int) -> None:
        s = self._settings = settings

        def new_generator() -> keras.Model:
            return generator(
                size,
                channels,
                latent_dim=s.latent_dim,
                base_channels=s.generator_channels,
                kernel_size=s.kernel_size,
                upsampling=s.upsampling,
                batch_norm=s.batch_norm,
                seed=2 * s.seed,
            )

        self.generator = new_generator()
        self.average = new_generator()
        """The exponential moving average of the generator: what samples are taken from."""
        self.discriminator = discriminator(
            size,
            channels,
            base_channels=s.discriminator_channels,
            kernel_size=s.kernel_size,
            batch_norm=s.batch_norm,
            seed=2 * s.seed + 1,
        )
        self.steps = s.images // s.batch_size
        self._generator_loss = GENERATOR_LOSSES[s.loss]
        self._optimizers = {}
        for network in (self.generator, self.discriminator):
            rate = (
                _LinearDecay(s.learning_rate, self.steps, s.learning_rate_decay)
                if s.learning_rate_decay
                else s.learning_rate
            )
            self._optimizers[network.name] = keras.optimizers.Adam(rate, s.beta_1, s.beta_2)
            self._optimizers[network.name].build(network.trainable_variables)

    def _step(self, real: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """D steps with G as it is, then G steps with the D that came of it; the fake batch is made once."""
        s = self._settings
        d_weights, g_weights = self.discriminator.trainable_variables, self.generator.trainable_variables
        z = tf.random.stateless_normal((s.batch_size, s.latent_dim), tf.stack([s.seed, index]))
        with tf.GradientTape() as g_tape:
            fake = self.generator(z, training=True)
            with g_tape.stop_recording():
                with tf.GradientTape() as d_tape:
                    # Real and fake in batches of their own: batch norm must not mix their statistics.
                    real_logits = self.discriminator(real, training=True)
                    fake_logits = self.discriminator(fake, training=True)
                    d_loss = discriminator_loss(real_logits, fake_logits, s.label_smoothing)
                d_gradients = d_tape.gradient(d_loss, d_weights)
                self._optimizers["discriminator"].apply_gradients(zip(d_gradients, d_weights, strict=True))
            g_loss = self._generator_loss(self.discriminator(fake, training=True))
        g_gradients = g_tape.gradient(g_loss, g_weights)
        self._optimizers["generator"].apply_gradients(zip(g_gradients, g_weights, strict=True))

        decay = ema_decay(tf.cast(index + 1, tf.float32) * s.batch_size, s.batch_size, s.ema_halflife, s.ema_rampup)
        for average, now in zip(self.average.weights, self.generator.weights, strict=True):
            average.assign(now + (average - now) * decay)
        return (
            d_loss,
            g_loss,
            tf.reduce_mean(tf.sigmoid(real_logits)),
            tf.reduce_mean(tf.sigmoid(fake_logits)),
        )

    @tf.function(reduce_retracing=True)
    def _steps(self, batches: Iterator, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(4)
        for i in tf.range(count):
            real, _ = next(batches)
            sums += tf.stack(self._step(real, first + i))
        return sums / tf.cast(count, tf.float32)

    def run(self, batches: Iterator, first: int, count: int) -> dict[str, float]:
        """Take `count` steps, the first of which has the index `first`, and return the means of what was seen.

        `batches` is the iterator of a tf.data pipeline of (float32 NHWC [-1,1], labels). Means: `loss/discriminator`,
        `loss/generator`, and `probability/real` and `probability/fake`, what D says before its step of both.
        """
        means = self._steps(batches, tf.constant(first), tf.constant(count)).numpy()
        names = ("loss/discriminator", "loss/generator", "probability/real", "probability/fake")
        return dict(zip(names, map(float, means), strict=True))
