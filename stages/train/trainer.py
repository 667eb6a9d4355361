"""The training step of a DCGAN and everything it changes: two networks, two optimizers, the generator's average."""

from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from stages.errors import StageError
from stages.networks.choices import Precision
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.train.losses import OBJECTIVES, gradient_penalty
from stages.train.settings import Settings

NAMES = ("loss/discriminator", "loss/generator", "output/real", "output/fake")
"""What `Trainer.run` tells of, in this order."""


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A constant rate, then a straight line to zero over the last `share` of `steps`; times a factor."""

    def __init__(self, rate: float, steps: int, share: float, factor: tf.Variable) -> None:
        self.rate, self.steps, self.share, self.factor = rate, steps, share, factor

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate at a step."""
        rate = self.rate * self.factor
        if not self.share:
            return rate
        left = 1 - tf.cast(step, tf.float32) / self.steps
        return rate * tf.clip_by_value(left / self.share, 0.0, 1.0)


def ema_decay(images: tf.Tensor, batch: int, halflife: float, rampup: float) -> tf.Tensor:
    """What the average keeps of itself in a step of `batch` images, after `images` (float, > 0) images.

    Karras et al. 2020 (arXiv:2006.06676), as in their code. Its half-life is `halflife` images,
    but at most `rampup` times the images seen so far.
    """
    return 0.5 ** (batch / tf.minimum(halflife, rampup * images))


class Trainer:
    """Two networks that learn in turn; `run` takes as many steps as it is told in one call of a compiled graph.

    With a `strategy` of several replicas each holds an equal part of every batch, and the result is that of one device
    but for rounding: gradients are means over the whole batch, batch norm's statistics the whole batch's.
    """

    def __init__(
        self, settings: Settings, size: int, channels: int, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        """Raises StageError where the batch cannot be dealt out, and ValueError where `size` is no power of two."""
        self._settings = s = settings
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        if s.batch_size % self._replicas:
            raise StageError(
                f"train.batch_size: expected a multiple of the {self._replicas} devices, got {s.batch_size}"
            )
        self._size, self._channels = size, channels
        self.steps = s.images // s.images_per_step
        self._objective = OBJECTIVES[s.loss]
        with self._strategy.scope():
            self.generator = self._new_generator(s.precision)
            self.average = self._new_generator("float32")
            """The exponential moving average of the generator: what samples are taken from."""
            self.discriminator = self._new_discriminator(s.precision)
            self._rate_factor = tf.Variable(1.0, trainable=False, name="rate_factor")
            self._optimizers = {}
            for network, rate in (
                (self.generator, s.generator_learning_rate),
                (self.discriminator, s.discriminator_learning_rate),
            ):
                # D's optimizer counts its own steps.
                steps = self.steps * (s.discriminator_steps if network is self.discriminator else 1)
                schedule = _Rate(rate, steps, s.learning_rate_decay, self._rate_factor)
                self._optimizers[network.name] = keras.optimizers.Adam(schedule, s.beta_1, s.beta_2)
                self._optimizers[network.name].build(network.trainable_variables)

    def _new_generator(self, compute: Precision) -> keras.Model:
        s = self._settings
        return generator(
            self._size,
            self._channels,
            latent_dim=s.latent_dim,
            base_channels=s.generator_channels,
            kernel_size=s.kernel_size,
            stem=s.generator_stem,
            upsampling=s.upsampling,
            activation=s.generator_activation,
            batch_norm=s.batch_norm,
            compute=compute,
            seed=2 * s.seed,
        )

    def _new_discriminator(self, compute: Precision) -> keras.Model:
        s = self._settings
        return discriminator(
            self._size,
            self._channels,
            base_channels=s.discriminator_channels,
            kernel_size=s.kernel_size,
            head=s.discriminator_head,
            activation=s.discriminator_activation,
            # Both bound D in batch norm's place: the penalty is one of each image, which batch norm would mix with its
            # neighbours (Gulrajani et al. 2017, section 4), and a norm after W/σ would undo the division.
            batch_norm="none" if s.spectral_norm or s.loss == "wasserstein_gp" else s.batch_norm,
            spectral_norm=s.spectral_norm,
            compute=compute,
            seed=2 * s.seed + 1,
        )

    def _networks(self) -> dict[str, keras.Model]:
        return {"generator": self.generator, "average": self.average, "discriminator": self.discriminator}

    def networks(self, average: Sequence[np.ndarray], discriminator: Sequence[np.ndarray]) -> tuple[keras.Model, ...]:
        """A generator and a discriminator of these weights, on one device, that compute in float32: to be saved."""
        made = self._new_generator("float32"), self._new_discriminator("float32")
        for network, weights in zip(made, (average, discriminator), strict=True):
            network.set_weights(list(weights))
        return made

    def _part(self, batch: tf.Tensor) -> tf.Tensor:
        """This replica's part of what is there for the whole batch."""
        if self._replicas == 1:
            return batch
        share = self._settings.batch_size // self._replicas
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * share
        return batch[first : first + share]

    def _latent(self, turn: tf.Tensor) -> tf.Tensor:
        s = self._settings
        return self._part(tf.random.stateless_normal((s.batch_size, s.latent_dim), tf.stack([s.seed, turn])))

    def _judged(self, real: tf.Tensor, fake: tf.Tensor, turn: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What D is to descend; its loss, the same without penalty; its outputs for the real and the fake batch."""
        s = self._settings
        # Real and fake in batches of their own: batch norm must not mix their statistics.
        real_outputs = self.discriminator(real, training=True)
        fake_outputs = self.discriminator(fake, training=True)
        loss = total = self._objective.discriminator(real_outputs, fake_outputs, s.label_smoothing)
        if s.loss == "wasserstein_gp":
            mix = tf.random.stateless_uniform((s.batch_size, 1, 1, 1), tf.stack([s.seed, -1 - turn]))
            total += s.gradient_penalty * gradient_penalty(
                lambda images: self.discriminator(images, training=True), real, fake, self._part(mix)
            )
        return total, loss, real_outputs, fake_outputs

    def _learn(self, tape: tf.GradientTape, *losses: tuple[keras.Model, tf.Tensor]) -> None:
        """Each network takes a step down its loss; all gradients are of the networks as they were before."""
        share = tf.constant(1 / self._replicas)  # the optimizer adds the replicas' gradients up
        gradients = [tape.gradient(loss, network.trainable_variables, share) for network, loss in losses]
        for (network, _), of_network in zip(losses, gradients, strict=True):
            pairs = zip(of_network, network.trainable_variables, strict=True)
            self._optimizers[network.name].apply_gradients(pairs)

    def _step(self, batches: Sequence[tf.Tensor], index: tf.Tensor) -> tf.Tensor:
        """D's steps with G as it is, and G's own, on the last fake batch, with D after or before its last step.

        Alternating and simultaneous gradient descent (Mescheder et al. 2018, arXiv:1801.04406, section 2). The second
        spares a pass through D, a tenth of the step.
        """
        s = self._settings
        turn = index * s.discriminator_steps
        for i, real in enumerate(batches[:-1]):
            fake = self.generator(self._latent(turn + i), training=True)
            with tf.GradientTape() as tape:
                total, *_ = self._judged(self._part(real), fake, turn + i)
            self._learn(tape, (self.discriminator, total))
        turn += s.discriminator_steps - 1
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(self._latent(turn), training=True)
            total, d_loss, real_outputs, fake_outputs = self._judged(self._part(batches[-1]), fake, turn)
            last, answers = [(self.discriminator, total)], fake_outputs
            if s.updates == "alternating":
                with tape.stop_recording():
                    self._learn(tape, *last)
                last, answers = [], self.discriminator(fake, training=True)
            g_loss = self._objective.generator(answers)
        self._learn(tape, *last, (self.generator, g_loss))
        shown = tf.sigmoid if self._objective.logistic else tf.identity
        return tf.stack([d_loss, g_loss, tf.reduce_mean(shown(real_outputs)), tf.reduce_mean(shown(fake_outputs))])

    def _average_weights(self, index: tf.Tensor) -> None:
        s = self._settings
        images = tf.cast(index + 1, tf.float32) * s.images_per_step
        decay = ema_decay(images, s.images_per_step, s.ema_halflife, s.ema_rampup)

        def towards(average: tf.Variable, now: tf.Tensor) -> None:
            average.assign(now + (average - now) * decay)

        for average, now in zip(self.average.weights, self.generator.weights, strict=True):
            if self._replicas == 1:
                towards(average.value, now.value)
            else:
                self._strategy.extended.update(average.value, towards, args=(now.value,))

    @tf.function(reduce_retracing=True)
    def _steps(self, batches: Iterator, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(len(NAMES))
        for i in tf.range(count):
            real = [next(batches)[0] for _ in range(self._settings.discriminator_steps)]
            if self._replicas == 1:
                sums += self._step(real, first + i)
            else:
                values = self._strategy.run(self._step, args=(real, first + i))
                sums += self._strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None)
            self._average_weights(first + i)
        return sums / tf.cast(count, tf.float32)

    def run(self, batches: Iterator, first: int, count: int) -> dict[str, float]:
        """Take `count` steps, the first of which has the index `first`, and return the means of what was seen.

        `batches` is the iterator of a tf.data pipeline of (float32 NHWC [-1,1], labels). Means: `loss/discriminator`
        (without a gradient penalty), `loss/generator`, and what D says before it learns from them, `output/real` and
        `output/fake`: the mean probability of "real" where the loss is logistic, else the mean of D's numbers.
        """
        means = self._steps(batches, tf.constant(first), tf.constant(count)).numpy()
        return dict(zip(NAMES, map(float, means), strict=True))

    def _variables(self) -> dict[str, keras.Variable | tf.Variable]:
        """Everything that a step changes, by a name of its own."""
        named = {
            f"{name}/{i:03}": w for name, network in self._networks().items() for i, w in enumerate(network.weights)
        }
        for name, optimizer in self._optimizers.items():
            named |= {f"{name}_optimizer/{i:03}": v for i, v in enumerate(optimizer.variables)}
        return {**named, "rate_factor": self._rate_factor}

    def state(self) -> dict[str, np.ndarray]:
        """A copy of everything that a step changes: `restore` of it goes on to the same bit."""
        return {name: np.array(variable.numpy()) for name, variable in self._variables().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Become what `state` was taken from. Raises StageError where that was another network."""
        variables = self._variables()
        expected = {name: tuple(variable.shape) for name, variable in variables.items()}
        found = {name: state[name].shape for name in state if name in expected}
        wrong = next((name for name in expected if found.get(name) != expected[name]), None)
        if wrong:
            raise StageError(
                f"a checkpoint of another network: {wrong} is {found.get(wrong, 'not there')}, expected "
                f"{expected[wrong]}; remove the folder to start from the beginning"
            )
        for name, variable in variables.items():
            variable.assign(state[name])

    def roll_back(self, state: Mapping[str, np.ndarray], done: int, factor: float) -> None:
        """Take the weights of an earlier `state`, but stay at step `done`, and go on with `factor` times the rates."""
        self.restore(state)
        self._rate_factor.assign(factor)
        for name, optimizer in self._optimizers.items():
            optimizer.iterations.assign(done * (self._settings.discriminator_steps if name == "discriminator" else 1))

    def chiefs(self, values: Sequence[float]) -> list[float]:
        """What the first replica's worker says, on every worker (float32)."""
        if self._replicas == 1:
            return list(values)
        return [float(value) for value in self._told(tf.constant(values, tf.float32)).numpy()]

    @tf.function(reduce_retracing=True)
    def _told(self, values: tf.Tensor) -> tf.Tensor:
        def mine(values: tf.Tensor) -> tf.Tensor:
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            return tf.where(first, values, tf.zeros_like(values))

        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(mine, args=(values,)), axis=None)
