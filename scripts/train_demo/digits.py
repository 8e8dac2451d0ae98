"""Handwritten digits, 8×8: version 1 is softmax regression, version 2 a small CNN trained on moved and turned copies.

The recipes were chosen by cross-validation inside the training rows. The held-out rows are only measured on.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scripts.train_demo.artefacts import (
    MODELS,
    Stopwatch,
    Trained,
    first_right_per_class,
    make_reproducible,
    parameter_count,
    save_signature,
    total_bytes,
)
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 20
HELD_OUT = 450
PIXEL_MAX = 16.0
CNN_EPOCHS = 60
BATCH = 64
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
IMAGE = tf.TensorSpec([None, 8, 8, 1], tf.float32, name="image")


def split() -> tuple[Floats, Ints, Floats, Ints]:
    """Training images [n,8,8,1] in 0..16 and their classes [n], then the same for the held-out rows."""
    data = load_digits()
    images = data.images.astype(np.float32)[..., None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, data.target, test_size=HELD_OUT, stratify=data.target, random_state=SEED
    )
    return train_x, train_y, test_x, test_y


class SoftmaxRegression(tf.Module):
    """One linear layer over the pixels."""

    def __init__(self, kernel: Floats, bias: Floats) -> None:
        super().__init__()
        self.kernel = tf.Variable(kernel, trainable=False, name="kernel")
        self.bias = tf.Variable(bias, trainable=False, name="bias")

    @tf.function(input_signature=[IMAGE])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.reshape(image, [-1, 64])
        return {"probabilities": tf.nn.softmax(tf.matmul(pixels, self.kernel) + self.bias, name="probabilities")}


class ConvolutionalNetwork(tf.Module):
    """Two blocks of two 3×3 convolutions and a pooling, then two dense layers. Rows never meet."""

    def __init__(self, weights: list[Floats]) -> None:
        super().__init__()
        self.weights = [tf.Variable(value, trainable=False, name=f"weight_{i}") for i, value in enumerate(weights)]

    @tf.function(input_signature=[IMAGE])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        pairs = list(zip(self.weights[0::2], self.weights[1::2], strict=True))
        hidden = image
        for first, second in (pairs[0:2], pairs[2:4]):
            for kernel, bias in (first, second):
                hidden = tf.nn.relu(tf.nn.conv2d(hidden, kernel, strides=1, padding="SAME") + bias)
            hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
        hidden = tf.reshape(hidden, [-1, 256])
        hidden = tf.nn.relu(tf.matmul(hidden, pairs[4][0]) + pairs[4][1])
        logits = tf.matmul(hidden, pairs[5][0]) + pairs[5][1]
        return {"probabilities": tf.nn.softmax(logits, name="probabilities")}


def train_regression(images: Floats, classes: Ints) -> SoftmaxRegression:
    """Full-batch Adam on the cross-entropy, with weight decay."""
    layer = keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(1e-4))
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), layer])
    model.compile(keras.optimizers.Adam(0.03), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, classes, batch_size=len(images), epochs=200, verbose=0)
    return SoftmaxRegression(*layer.get_weights())


def moved_copies(images: Floats, rng: np.random.Generator) -> Floats:
    """Every image turned (±12°), scaled (±12 %), slanted (±0.12) and shifted (±0.8 pixel) at random, bilinear.

    ``images`` is [n,8,8,1]; pixels from outside are 0.
    """
    count = len(images)
    angle = np.deg2rad(rng.uniform(-12, 12, count))
    scale_y, scale_x = rng.uniform(0.88, 1.12, (2, count))
    slant = rng.uniform(-0.12, 0.12, count)
    shift = rng.uniform(-0.8, 0.8, (count, 2))
    rows, columns = np.meshgrid(np.arange(8) - 3.5, np.arange(8) - 3.5, indexing="ij")
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    from_y = (cos * rows - sin * columns) * scale_y[:, None, None] + shift[:, 0, None, None]
    from_x = (sin * rows + cos * columns) * scale_x[:, None, None] + shift[:, 1, None, None]
    from_x = from_x + slant[:, None, None] * rows
    padded = np.pad(images[..., 0], ((0, 0), (1, 2), (1, 2)))
    y, x = np.clip(from_y + 4.5, 0, 8.999), np.clip(from_x + 4.5, 0, 8.999)
    top, left = y.astype(int), x.astype(int)
    dy, dx = y - top, x - left
    image = np.arange(count)[:, None, None]
    upper = padded[image, top, left] * (1 - dx) + padded[image, top, left + 1] * dx
    lower = padded[image, top + 1, left] * (1 - dx) + padded[image, top + 1, left + 1] * dx
    return (upper * (1 - dy) + lower * dy).astype(np.float32)[..., None]


def cnn_layers() -> keras.Sequential:
    """The network of ``ConvolutionalNetwork``, with dropout, as Keras trains it."""
    layers = keras.layers
    blocks: list[Any] = [keras.Input((8, 8, 1))]
    for filters in (32, 64):
        blocks += [layers.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(2)]
        blocks += [layers.MaxPooling2D(), layers.Dropout(0.2)]
    blocks += [layers.Flatten(), layers.Dense(96, activation="relu"), layers.Dropout(0.4), layers.Dense(10)]
    return keras.Sequential(blocks)


def train_cnn(images: Floats, classes: Ints, epochs: int = CNN_EPOCHS) -> ConvolutionalNetwork:
    """AdamW with a cosine learning rate; every epoch sees each image once, moved anew."""
    rng = np.random.default_rng(SEED)
    steps = epochs * -(-len(images) // BATCH)
    model = cnn_layers()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05)
    schedule = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-3, warmup_steps=steps // 20)
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=1e-3), loss)
    targets = np.eye(10, dtype=np.float32)[classes]
    for _ in range(epochs):
        order = rng.permutation(len(images))
        model.fit(moved_copies(images[order], rng), targets[order], batch_size=BATCH, shuffle=False, verbose=0)
    return ConvolutionalNetwork(model.get_weights())


def predict(model: Any, images: Floats) -> Ints:
    """Most likely class of each image [n,8,8,1], pixels 0..16."""
    return np.argmax(model.serve(tf.constant(images / PIXEL_MAX))["probabilities"].numpy(), axis=-1)


def train() -> Trained:
    """Train, export and measure both versions."""
    train_x, train_y, test_x, test_y = split()
    measured: dict[str, dict[str, float | int]] = {}
    right = np.ones(len(test_y), dtype=bool)
    for version, trainer in (("1", train_regression), ("2", train_cnn)):
        make_reproducible(SEED)
        watch = Stopwatch()
        with watch.timing():
            model = trainer(train_x / PIXEL_MAX, train_y)
        target = MODELS / "digits" / version
        save_signature(model, model.serve, target)
        hits = predict(model, test_x) == test_y
        right &= hits
        measured[f"digits/{version}"] = {
            "training_examples": len(train_y),
            "held_out_examples": len(test_y),
            "held_out_accuracy": round(float(hits.mean()), 5),
            "parameters": parameter_count(model.variables),
            "bytes": total_bytes(target),
            "seed": SEED,
            "training_s": round(watch.seconds, 1),
        }
    samples = first_right_per_class([str(y) for y in test_y], test_x.astype(int).tolist(), right.tolist())
    return Trained(measured, samples)
