"""The training step of a DCGAN, and its state: two networks, two optimizers, the generator's moving average."""

import math
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from stages.errors import StageError
from stages.networks.choices import Precision
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.sizes import Size
from stages.train.guards import Magnitude
from stages.train.losses.catalog import LOSSES
from stages.train.losses.penalty import gradient_penalty
from stages.train.settings import Settings

STEP_METRICS = ("loss/discriminator", "loss/generator", "output/real", "output/fake")
"""The values that `Trainer.run` returns, in this order."""


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """A constant rate, which falls linearly to zero over the last `share` of `steps`; times a factor."""

    def __init__(self, rate: float, steps: int, share: float, factor: tf.Variable) -> None:
        self.rate, self.steps, self.share, self.factor = rate, steps, share, factor

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate at a step."""
        rate = self.rate * self.factor
        if not self.share:
            return rate
        remaining = 1 - tf.cast(step, tf.float32) / self.steps
        return rate * tf.clip_by_value(remaining / self.share, 0.0, 1.0)


def ema_decay(images: tf.Tensor, batch: int, halflife: float, rampup: float) -> tf.Tensor:
    """The decay of the moving average in a step of `batch` images, once `images` (float, > 0) have been seen.

    Karras et al. 2020 (arXiv:2006.06676), as in their code. The half-life is `halflife` images, but at most `rampup`
    times the images seen so far.
    """
    return 0.5 ** (batch / tf.minimum(halflife, rampup * images))


class Trainer:
    """Trains the two networks: `run` takes any number of steps in one call of a compiled graph.

    Under a `strategy` with several replicas, each replica takes an equal part of every batch. Gradients and batch
    norm's statistics are those of the whole batch, so the result equals that of one device except for rounding.
    """

    def __init__(
        self, settings: Settings, size: Size, channels: int, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        """Raises StageError if a batch cannot be shared equally, and ValueError for a size that the networks lack."""
        self._settings = s = settings
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        if s.batch_size % self._replicas:
            raise StageError(
                f"train.batch_size: expected a multiple of the {self._replicas} devices, got {s.batch_size}"
            )
        self._size, self._channels = size, channels
        self.steps = s.images // s.images_per_step
        self._loss = LOSSES[s.loss.name]
        self._formulas = self._loss.formulas
        with self._strategy.scope():
            self.generator = self._new_generator(s.precision)
            self.average = self._new_generator("float32")
            """The exponential moving average of the generator, which makes the samples."""
            self.discriminator = self._new_discriminator(s.precision)
            self._rate_factor = tf.Variable(1.0, trainable=False, name="rate_factor")
            self._optimizers, adam = {}, s.optimizer
            for network, rate in (
                (self.generator, adam.generator_learning_rate),
                (self.discriminator, adam.discriminator_learning_rate),
            ):
                # D's optimizer counts its own steps.
                steps = self.steps * (adam.discriminator_steps if network is self.discriminator else 1)
                schedule = _Rate(rate, steps, adam.learning_rate_decay, self._rate_factor)
                self._optimizers[network.name] = keras.optimizers.Adam(schedule, adam.beta_1, adam.beta_2)
                self._optimizers[network.name].build(network.trainable_variables)

    def _new_generator(self, compute: Precision) -> keras.Model:
        s = self._settings
        return generator(self._size, self._channels, s.generator, compute, seed=2 * s.seed)

    def _new_discriminator(self, compute: Precision) -> keras.Model:
        s = self._settings
        return discriminator(self._size, self._channels, s.discriminator, compute, seed=2 * s.seed + 1)

    def _networks(self) -> dict[str, keras.Model]:
        return {"generator": self.generator, "average": self.average, "discriminator": self.discriminator}

    def networks(self, average: Sequence[np.ndarray], discriminator: Sequence[np.ndarray]) -> tuple[keras.Model, ...]:
        """The generator and the discriminator to save: with these weights, on one device, computing in float32."""
        networks = self._new_generator("float32"), self._new_discriminator("float32")
        for network, weights in zip(networks, (average, discriminator), strict=True):
            network.set_weights(list(weights))
        return networks

    def _replica_part(self, batch: tf.Tensor) -> tf.Tensor:
        """This replica's part of a tensor for the whole batch."""
        if self._replicas == 1:
            return batch
        share = self._settings.batch_size // self._replicas
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * share
        return batch[first : first + share]

    def _latent(self, turn: tf.Tensor) -> tf.Tensor:
        s = self._settings
        z = tf.random.stateless_normal((s.batch_size, s.generator.latent_dim), tf.stack([s.seed, turn]))
        return self._replica_part(z)

    def _discriminator_loss(self, real: tf.Tensor, fake: tf.Tensor, turn: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """D's loss with the penalty, to minimise; D's loss without it; D's outputs for the real and the fake batch."""
        s = self._settings
        # Two batches, because batch norm must not mix the statistics of real and fake images.
        real_outputs = self.discriminator(real, training=True)
        fake_outputs = self.discriminator(fake, training=True)
        loss = total = self._formulas.discriminator(real_outputs, fake_outputs, s.loss.label_smoothing)
        if self._loss.penalty:
            mix = tf.random.stateless_uniform((s.batch_size, 1, 1, 1), tf.stack([s.seed, -1 - turn]))
            total += s.loss.gradient_penalty * gradient_penalty(
                lambda images: self.discriminator(images, training=True), real, fake, self._replica_part(mix)
            )
        return total, loss, real_outputs, fake_outputs

    def _descend(self, tape: tf.GradientTape, *losses: tuple[keras.Model, tf.Tensor]) -> None:
        """Update each network to lower its loss. All gradients are computed before the first update."""
        share = tf.constant(1 / self._replicas)  # the optimizer sums the replicas' gradients
        gradients = [tape.gradient(loss, network.trainable_variables, share) for network, loss in losses]
        for (network, _), network_gradients in zip(losses, gradients, strict=True):
            pairs = zip(network_gradients, network.trainable_variables, strict=True)
            self._optimizers[network.name].apply_gradients(pairs)

    def _train_step(self, batches: Sequence[tf.Tensor], index: tf.Tensor) -> tf.Tensor:
        """One update of D for each batch, and one of G on the last fake batch, after or before D's last update.

        Alternating and simultaneous gradient descent (Mescheder et al. 2018, arXiv:1801.04406, section 2). The second
        saves a pass through D, a tenth of the step.
        """
        s = self._settings
        turn = index * s.optimizer.discriminator_steps
        for i, real in enumerate(batches[:-1]):
            fake = self.generator(self._latent(turn + i), training=True)
            with tf.GradientTape() as tape:
                total, *_ = self._discriminator_loss(self._replica_part(real), fake, turn + i)
            self._descend(tape, (self.discriminator, total))
        turn += s.optimizer.discriminator_steps - 1
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(self._latent(turn), training=True)
            total, d_loss, real_outputs, fake_outputs = self._discriminator_loss(
                self._replica_part(batches[-1]), fake, turn
            )
            d_update, outputs_for_g = [(self.discriminator, total)], fake_outputs
            if s.optimizer.updates == "alternating":
                with tape.stop_recording():
                    self._descend(tape, *d_update)
                d_update, outputs_for_g = [], self.discriminator(fake, training=True)
            g_loss = self._formulas.generator(outputs_for_g)
        self._descend(tape, *d_update, (self.generator, g_loss))
        scale = tf.sigmoid if self._loss.logistic else tf.identity
        return tf.stack([d_loss, g_loss, tf.reduce_mean(scale(real_outputs)), tf.reduce_mean(scale(fake_outputs))])

    def _update_average(self, index: tf.Tensor) -> None:
        s = self._settings
        images = tf.cast(index + 1, tf.float32) * s.images_per_step
        decay = ema_decay(images, s.images_per_step, s.average.halflife, s.average.rampup)

        def move(average: tf.Variable, weight: tf.Tensor) -> None:
            average.assign(weight + (average - weight) * decay)

        for average, weight in zip(self.average.weights, self.generator.weights, strict=True):
            if self._replicas == 1:
                move(average.value, weight.value)
            else:
                self._strategy.extended.update(average.value, move, args=(weight.value,))

    @tf.function(reduce_retracing=True)
    def _train_steps(self, batches: Iterator, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        sums = tf.zeros(len(STEP_METRICS))
        for i in tf.range(count):
            real = [next(batches)[0] for _ in range(self._settings.optimizer.discriminator_steps)]
            if self._replicas == 1:
                sums += self._train_step(real, first + i)
            else:
                values = self._strategy.run(self._train_step, args=(real, first + i))
                sums += self._strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None)
            self._update_average(first + i)
        return sums / tf.cast(count, tf.float32)

    def run(self, batches: Iterator, first: int, count: int) -> dict[str, float]:
        """Take `count` steps, the first with the index `first`, and return the means of STEP_METRICS over them.

        `batches` iterates over a tf.data pipeline of (float32 NHWC [-1,1], labels). `loss/discriminator` excludes the
        gradient penalty. `output/real` and `output/fake` are D's outputs before its update: the mean probability of
        "real" if the loss is logistic, else the mean output.
        """
        means = self._train_steps(batches, tf.constant(first), tf.constant(count)).numpy()
        return dict(zip(STEP_METRICS, map(float, means), strict=True))

    def _variables(self) -> dict[str, keras.Variable | tf.Variable]:
        """Everything that a step changes, by a unique name."""
        variables: dict[str, keras.Variable | tf.Variable] = {
            f"{name}/{i:03}": w for name, network in self._networks().items() for i, w in enumerate(network.weights)
        }
        for name, optimizer in self._optimizers.items():
            variables |= {f"{name}_optimizer/{i:03}": v for i, v in enumerate(optimizer.variables)}
        return {**variables, "rate_factor": self._rate_factor}

    def state(self) -> dict[str, np.ndarray]:
        """A copy of everything that a step changes. Training continues from it to the same bits (see `restore`)."""
        return {name: np.array(variable.numpy()) for name, variable in self._variables().items()}

    def magnitudes(self) -> dict[str, Magnitude]:
        """The size of each network's weights and of its recent gradients.

        Adam's mean of the squared gradients has their norm, so the step need not compute it.
        """
        magnitudes = {}
        for network in (self.generator, self.discriminator):
            optimizer = self._optimizers[network.name]
            weights = [weight.numpy().astype(np.float64) for weight in network.trainable_variables]
            squares = [v.numpy().astype(np.float64) for v in optimizer.variables if v.path.endswith("velocity")]
            seen = 1 - self._settings.optimizer.beta_2 ** max(
                int(optimizer.iterations.numpy()), 1
            )  # the mean starts at zero
            magnitudes[network.name] = Magnitude(
                weights=math.sqrt(
                    sum((weight**2).sum() for weight in weights) / sum(weight.size for weight in weights)
                ),
                gradients=math.sqrt(sum(square.sum() for square in squares) / seen),
            )
        return magnitudes

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Load a `state`. Raises StageError if it belongs to another network."""
        variables = self._variables()
        for name, variable in variables.items():
            shape = state[name].shape if name in state else None
            if shape != tuple(variable.shape):
                raise StageError(
                    f"the checkpoint is of another network: {name} is {shape or 'missing'}, expected "
                    f"{tuple(variable.shape)}; remove .state/train to start from scratch"
                )
        for name, variable in variables.items():
            variable.assign(state[name])

    def roll_back(self, state: Mapping[str, np.ndarray], done: int, factor: float) -> None:
        """Load the weights of an earlier `state`, but stay at step `done`, and multiply both rates by `factor`."""
        self.restore(state)
        self._rate_factor.assign(factor)
        for name, optimizer in self._optimizers.items():
            optimizer.iterations.assign(
                done * (self._settings.optimizer.discriminator_steps if name == "discriminator" else 1)
            )

    def from_chief(self, values: Sequence[float]) -> list[float]:
        """The chief's values (float32), on every worker."""
        if self._replicas == 1:
            return list(values)
        return self._broadcast(tf.constant([float(value) for value in values])).numpy().tolist()

    @tf.function(reduce_retracing=True)
    def _broadcast(self, values: tf.Tensor) -> tf.Tensor:
        def contribution(values: tf.Tensor) -> tf.Tensor:
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            return tf.where(first, values, tf.zeros_like(values))

        contributions = self._strategy.run(contribution, args=(values,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, contributions, axis=None)
