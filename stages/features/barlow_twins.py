"""Barlow Twins: train features on pictures without labels (Zbontar et al. 2021, arXiv:2103.03230).

Two views of a picture should have the same embedding, and no two dimensions of it should say the same. The loss needs
neither negatives nor large batches.
"""

import tensorflow as tf

_REDUNDANCY = 0.005  # λ, the weight of the second term (section 3.2)
_EPSILON = 1e-5  # added to the variances, as batch norm does


def loss(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Embeddings (N, d) of two views of N pictures, N at least 2 => the loss, a scalar. Equations 1 and 2."""
    correlation = tf.matmul(_normalised(a), _normalised(b), transpose_a=True) / len(a)
    diagonal = tf.linalg.diag_part(correlation)
    redundancy = tf.reduce_sum(tf.square(correlation)) - tf.reduce_sum(tf.square(diagonal))
    return tf.reduce_sum(tf.square(1 - diagonal)) + _REDUNDANCY * redundancy


def _normalised(embeddings: tf.Tensor) -> tf.Tensor:
    """Each dimension with mean 0 and variance 1 over the batch."""
    mean, variance = tf.nn.moments(embeddings, 0)
    return (embeddings - mean) / tf.sqrt(variance + _EPSILON)
