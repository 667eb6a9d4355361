"""The training step of a DCGAN, and its state: two networks, two optimizers, the generator's moving average."""

import math
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from stages.classes import Classes
from stages.errors import StageError
from stages.networks.choices import Precision
from stages.networks.discriminator import discriminator
from stages.networks.generator import generator
from stages.networks.settings import MINIBATCH_STD_GROUP
from stages.params import Scheduled
from stages.pixels import batch_size_for
from stages.sizes import Size
from stages.train import origin
from stages.train.adam import Adam
from stages.train.augment import transforms
from stages.train.guards import Magnitude
from stages.train.losses.catalog import LOSSES
from stages.train.losses.penalty import gradient_penalty, squared_slope
from stages.train.origin import Start
from stages.train.schedules import images_seen, scheduled
from stages.train.settings import OptimizerSettings, Settings

STEP_METRICS = ("loss/discriminator", "loss/generator", "output/real", "output/fake")
"""The values that `Trainer.run` returns, in this order."""

_Batch = tuple[tf.Tensor, tf.Tensor | None]
"""Real images (N, H, W, C) and, if the networks are conditional, the weights of their classes (N, K)."""


class _Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at a step of an optimizer that takes `steps` steps of `batch` images: see OptimizerSettings."""

    def __init__(
        self, rate: Scheduled, settings: OptimizerSettings, batch: int, steps: int, factor: tf.Variable
    ) -> None:
        self.rate, self.settings, self.batch, self.steps, self.factor = rate, settings, batch, steps, factor

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate at a step (the first is 0), with the images of this step among those seen."""
        s, images = self.settings, images_seen(step, self.batch)
        rate = scheduled(self.rate, images, s.burn_in) * self.factor
        if s.warmup:
            rate *= tf.minimum(images / s.warmup, 1.0)
        if s.learning_rate_decay:
            remaining = 1 - tf.cast(step, tf.float32) / self.steps
            rate *= tf.clip_by_value(remaining / s.learning_rate_decay, 0.0, 1.0)
        return rate


def ema_decay(images: tf.Tensor, batch: int, halflife: float, rampup: float) -> tf.Tensor:
    """The decay of the moving average in a step of `batch` images, once `images` (float, > 0) have been seen.

    Karras et al. 2020 (arXiv:2006.06676), as in their code. The half-life is `halflife` images, but at most `rampup`
    times the images seen so far.
    """
    return 0.5 ** (batch / tf.minimum(halflife, rampup * images))


def _with_classes(tensor: tf.Tensor, classes: tf.Tensor | None) -> tf.Tensor | list[tf.Tensor]:
    """The inputs of a network: z or images, and the weights of the classes (N, K) if it is conditional."""
    return tensor if classes is None else [tensor, classes]


class _Pass:
    """A batch of images (N, H, W, C) that has passed through D in training mode: D's outputs (N, 1).

    `classes` are their classes (N, K) for a conditional D; else None.
    """

    def __init__(self, discriminator: keras.Model, images: tf.Tensor, classes: tf.Tensor | None = None) -> None:
        self.images, self.classes = images, classes
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as self._tape:
            self._tape.watch(images)
            self.outputs = discriminator(_with_classes(images, classes), training=True)
        self._slopes: tf.Tensor | None = None

    def slopes(self, *, keep: bool) -> tf.Tensor:
        """The gradient of the sum of D's outputs at each image, (N, H, W, C).

        `keep` it for `gradient`, if D does not mix the images of a batch: then it is ∇D(x).
        """
        slopes = self._tape.gradient(self.outputs, self.images)
        if keep:
            self._slopes = slopes
        return slopes

    def gradient(self, by_outputs: tf.Tensor) -> tf.Tensor:
        """The gradient of a loss with respect to the images, from the one with respect to the outputs."""
        if self._slopes is not None:
            return by_outputs[:, :, None, None] * self._slopes
        return self._tape.gradient(self.outputs, self.images, by_outputs)


class Trainer:
    """Trains the two networks: `run` takes any number of steps in one call of a compiled graph.

    Under a `strategy` with several replicas, each replica takes an equal part of every batch. Gradients and batch
    norm's statistics are those of the whole batch, so the result equals that of one device except for rounding.

    With `train.conditional`, sample i of a batch has the class of the batch's real image i. So the classes of real
    images and samples are equally frequent, and the two images of a pair have the same class.
    """

    def __init__(
        self,
        settings: Settings,
        size: Size,
        channels: int,
        strategy: tf.distribute.Strategy | None = None,
        classes: Classes | None = None,
    ) -> None:
        """`classes`: those of the data, for `train.conditional`; else None.

        Raises StageError if a batch cannot be shared equally, and ValueError for a size that the networks lack.
        """
        self._settings = s = settings
        self.classes = classes
        self._rows = tf.constant(classes.rows) if classes else None  # the networks' input for each class
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        unit = self._replicas * (MINIBATCH_STD_GROUP if s.discriminator.minibatch_std else 1)
        if s.batch_size % unit:
            raise StageError(
                f"train.batch_size: expected a multiple of {unit} for {self._replicas} devices, got {s.batch_size}"
            )
        self._size, self._channels = size, channels
        self.steps = s.images // s.images_per_step
        self.constant_rate_steps = int(self.steps * (1 - s.optimizer.learning_rate_decay))
        """The first steps, before the learning rates begin to fall."""
        self._loss = LOSSES[s.loss.name]
        self._formulas = self._loss.formulas
        self._share = tf.constant(1 / self._replicas)  # of a replica's gradients, because the optimizer sums them
        with self._strategy.scope():
            self.generator = self._new_generator(s.precision)
            self.average = self._new_generator("float32")
            """The exponential moving average of the generator, which makes the samples."""
            self.discriminator = self._new_discriminator(s.precision)
            self._rate_factor = tf.Variable(1.0, trainable=False, name="rate_factor")
            fixed = 0.0 if s.augment.probability == "adaptive" else s.augment.probability
            self._probability = tf.Variable(fixed, trainable=False, name="augment_probability")
            self._optimizers = {
                network.name: self._new_optimizer(network) for network in (self.generator, self.discriminator)
            }

    def _new_optimizer(self, network: keras.Model) -> Adam:
        """The optimizer of a network. The discriminator's counts the discriminator's steps."""
        s = self._settings.optimizer
        rate, batch, steps = s.generator_learning_rate, self._settings.images_per_step, self.steps
        if network is self.discriminator:
            rate, batch = s.discriminator_learning_rate, self._settings.batch_size
            steps *= s.discriminator_steps

        def beta_2(step: tf.Tensor) -> tf.Tensor:
            return scheduled(s.beta_2, images_seen(step, batch), s.burn_in)

        schedule = _Rate(rate, s, batch, steps, self._rate_factor)
        optimizer = Adam(schedule, s.beta_1, beta_2 if isinstance(s.beta_2, tuple) else s.beta_2)
        optimizer.build(network.trainable_variables)
        return optimizer

    def start_from(self, start: Start) -> None:
        """Take the weights of another model. The average starts at its generator. Raises StageError if it differs."""
        origin.take_over(start, self.generator, self.discriminator, self.classes)
        self.average.set_weights(self.generator.get_weights())

    def _new_generator(self, compute: Precision) -> keras.Model:
        s = self._settings
        return generator(
            *(self._size, self._channels, s.generator, compute, 2 * s.seed, self._class_inputs),
            attributes=bool(self.classes and self.classes.attributes),
        )

    def _new_discriminator(self, compute: Precision) -> keras.Model:
        s = self._settings
        return discriminator(self._size, self._channels, s.discriminator, compute, 2 * s.seed + 1, self._class_inputs)

    @property
    def _class_inputs(self) -> int:
        return 0 if self._rows is None else int(self._rows.shape[1])

    def _class_weights(self, labels: tf.Tensor) -> tf.Tensor | None:
        """Labels int64 (N,) => the networks' input (N, K); None for unconditional networks."""
        return None if self._rows is None else tf.gather(self._rows, labels)

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

    def _augmented(self, images: tf.Tensor, number: tf.Tensor, kind: int) -> tf.Tensor:
        s = self._settings
        if not s.augment.transforms:
            return images
        numbers = transforms.draw(s.seed, number, kind, s.batch_size, len(s.augment.transforms))
        return transforms.apply(s.augment.transforms, images, self._replica_part(numbers), self._probability)

    def _real(self, batch: _Batch, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """What D sees, in its step `number`, of this replica's part of a batch; and the classes of these images."""
        images, classes = batch
        real = self._augmented(self._replica_part(images), number, transforms.REAL)
        return real, None if classes is None else self._replica_part(classes)

    def _fake(self, number: tf.Tensor, classes: tf.Tensor | None) -> tf.Tensor:
        """What D sees, in its step `number`, of new samples of these classes."""
        samples = self.generator(_with_classes(self._latent(number), classes), training=True)
        return self._augmented(samples, number, transforms.FAKE)

    def _discriminator_turn(
        self, real: tf.Tensor, fake: tf.Tensor, classes: tf.Tensor | None, number: tf.Tensor
    ) -> tuple[_Pass, _Pass, tf.Tensor, list[tf.Tensor]]:
        """Pass both batches through D in its step `number`: the passes, the loss without penalties, D's gradients."""
        d = self.discriminator
        s = self._settings.loss
        with tf.GradientTape() as tape:
            # Two batches, because batch norm must not mix the statistics of real and fake images. Without batch norm,
            # one batch of both is not faster: two keep two cores busy.
            real_pass, fake_pass = _Pass(d, real, classes), _Pass(d, fake, classes)
            loss = total = self._formulas.discriminator(real_pass.outputs, fake_pass.outputs, s.label_smoothing)
            if s.penalties:
                total += self._penalty(real_pass, fake_pass, number)
        return real_pass, fake_pass, loss, tape.gradient(total, d.trainable_variables, self._share)

    def _penalty(self, real: _Pass, fake: _Pass, number: tf.Tensor) -> tf.Tensor:
        """The weighted sum of the gradient penalties in D's step `number`. In a step without them it costs nothing."""
        s, images = self._settings, images_seen(number, self._settings.batch_size)
        every = s.loss.penalty_every
        alone = every == 1 and not s.discriminator.minibatch_std

        def penalty() -> tf.Tensor:
            terms = [
                scheduled(gamma, images, s.optimizer.burn_in) / 2 * squared_slope(passed.slopes(keep=alone))
                for gamma, passed in ((s.loss.r1, real), (s.loss.r2, fake))
                if gamma
            ]
            if self._loss.penalty:
                mix = tf.random.stateless_uniform((s.batch_size, 1, 1, 1), tf.stack([s.seed, -1 - number]))

                def outputs(images: tf.Tensor, training: bool) -> tf.Tensor:
                    return self.discriminator(_with_classes(images, real.classes), training=training)

                value = gradient_penalty(outputs, real.images, fake.images, self._replica_part(mix))
                terms.append(s.loss.gradient_penalty * value)
            return every * tf.add_n(terms)

        return penalty() if every == 1 else tf.cond(number % every == 0, penalty, lambda: 0.0)

    def _descend(self, network: keras.Model, gradients: Sequence[tf.Tensor]) -> None:
        self._optimizers[network.name].apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    def _train_step(self, batches: Sequence[_Batch], index: tf.Tensor) -> tf.Tensor:
        """One update of D for each batch, and one of G on the last fake batch, after or before D's last update.

        Alternating and simultaneous gradient descent (Mescheder et al. 2018, arXiv:1801.04406, section 2). The second
        saves a pass through D, a tenth of the step.
        """
        number = index * len(batches)
        for i, batch in enumerate(batches[:-1]):
            real_images, classes = self._real(batch, number + i)
            *_, d_gradients = self._discriminator_turn(
                real_images, self._fake(number + i, classes), classes, number + i
            )
            self._descend(self.discriminator, d_gradients)
        number += len(batches) - 1
        real_images, classes = self._real(batches[-1], number)
        with tf.GradientTape() as tape:
            fake_images = self._fake(number, classes)
        real, fake, d_loss, d_gradients = self._discriminator_turn(real_images, fake_images, classes, number)
        answers = self._answers(real.outputs, fake.outputs)
        alternating = self._settings.optimizer.updates == "alternating"
        if alternating:
            self._descend(self.discriminator, d_gradients)
            fake = _Pass(self.discriminator, fake.images, classes)
            if self._loss.paired:
                real = _Pass(self.discriminator, real.images, classes)
        g_loss, slopes = self._generator_loss(real, fake)
        g_gradients = tape.gradient(fake_images, self.generator.trainable_variables, slopes)
        if not alternating:
            self._descend(self.discriminator, d_gradients)
        self._descend(self.generator, g_gradients)
        return tf.stack([d_loss, g_loss, *answers])

    def _generator_loss(self, real: _Pass, fake: _Pass) -> tuple[tf.Tensor, tf.Tensor]:
        """G's loss, and its gradient with respect to the fake images."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(fake.outputs)
            loss = self._formulas.generator(real.outputs, fake.outputs)
        return loss, fake.gradient(tape.gradient(loss, fake.outputs, self._share))

    def _answers(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """D's mean answers for real and fake images (`run` defines them), from its outputs."""
        if self._loss.paired:
            real, fake = real - fake, fake - real
        scale = tf.sigmoid if self._loss.logistic else tf.identity
        return tf.reduce_mean(scale(real)), tf.reduce_mean(scale(fake))

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
            read = [next(batches) for _ in range(self._settings.optimizer.discriminator_steps)]
            real = [(images, self._class_weights(labels)) for images, labels in read]
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
        gradient penalties. `output/real` and `output/fake` are D's outputs before its update: the mean probability of
        "real" if the loss is logistic, else the mean output. If the loss is paired, the output for an image is counted
        from that for its partner, so the probability is that of being the real image of the pair.
        """
        means = self._train_steps(batches, tf.constant(first), tf.constant(count)).numpy()
        return dict(zip(STEP_METRICS, map(float, means), strict=True))

    @property
    def probability(self) -> float:
        """The probability of each transform of `train.augment`. It is part of the state if it is adaptive."""
        return float(self._probability.numpy())

    @probability.setter
    def probability(self, value: float) -> None:
        self._probability.assign(value)

    def mean_output(self, images: np.ndarray, classes: np.ndarray | None = None) -> float:
        """D's mean output, before any sigmoid, for images (float32 NHWC [-1,1]). It changes nothing.

        `classes`: the weights of their classes, float32 (N, K), for a conditional D.

        The images are augmented as in training, with random numbers that depend on an image's place only. D is not in
        training mode, so its output for an image does not depend on the others.
        """
        size = batch_size_for(images.shape[1:])
        arrays = [images] if classes is None else [images, classes]
        parts = [[tf.constant(a[first : first + size]) for a in arrays] for first in range(0, len(images), size)]
        outputs = [self._outputs(tf.constant(i), *part).numpy() for i, part in enumerate(parts)]
        return float(np.concatenate(outputs).mean(dtype=np.float64))

    @tf.function(reduce_retracing=True)
    def _outputs(self, number: tf.Tensor, images: tf.Tensor, classes: tf.Tensor | None = None) -> tf.Tensor:
        names = self._settings.augment.transforms
        numbers = transforms.draw(self._settings.seed, number, transforms.MEASURED, tf.shape(images)[0], len(names))
        seen = transforms.apply(names, images, numbers, self._probability)
        return self.discriminator(_with_classes(seen, classes), training=False)

    def _variables(self) -> dict[str, keras.Variable | tf.Variable]:
        """Everything that a step changes, by a unique name."""
        variables: dict[str, keras.Variable | tf.Variable] = {
            f"{name}/{i:03}": w for name, network in self._networks().items() for i, w in enumerate(network.weights)
        }
        for name, optimizer in self._optimizers.items():
            variables |= {f"{name}_optimizer/{i:03}": v for i, v in enumerate(optimizer.variables)}
        if self._settings.augment.adaptive:
            variables["augment_probability"] = self._probability
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
            seen = 1 - float(optimizer.beta_2_product.numpy()) or 1.0  # the mean starts at zero
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
