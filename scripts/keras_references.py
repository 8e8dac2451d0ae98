"""Write the models and answers that the tests of legacy Keras compare with, by the real code of Keras 2.

Keras 2 lives on as tf-keras, which must not be installed beside Keras 3 where tensorhost is tested:

    pip install --no-deps --target FOLDER "tf-keras==2.21.*"
    PYTHONPATH=FOLDER python scripts/keras_references.py tests/data/keras

Writes ``references.zip``: each model as ``NAME.h5`` and ``NAME.keras``, and ``NAME.npz`` with the arrays
``in:INPUT`` and ``out:NUMBER`` that Keras 2 computed from it in inference.
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

layers = keras.layers
Model, Sequential, Input = keras.Model, keras.Sequential, keras.Input
WORDS = ["a", "b", "zz", "c a"]
H5_ONLY = {"tensorflow_functions", "on_gpu"}  # Keras 2 cannot write an ellipsis into a .keras file
KERAS_ONLY = {"vocabularies"}  # nor a learnt vocabulary into an HDF5 file


def dense() -> Any:
    return Sequential(
        [
            layers.Dense(6, input_shape=(5,), activation="hard_sigmoid", kernel_regularizer="l2"),
            layers.Activation("hard_sigmoid"),
            layers.Dense(6, activation="gelu", kernel_constraint="max_norm"),
            layers.ThresholdedReLU(theta=0.2),
            layers.Dense(6, activation="swish"),
            layers.Dense(6, activation=layers.LeakyReLU(alpha=0.2)),
            layers.Dense(6, activation=tf.nn.relu6),
            layers.BatchNormalization(synchronized=True, center=False),
            layers.ActivityRegularization(0.1),
            layers.GaussianNoise(0.1),
            layers.Dropout(0.5),
            layers.Dense(4, activation="softmax"),
        ]
    )


def images() -> Any:
    return Sequential(
        [
            layers.Conv2D(4, 3, padding="same", input_shape=(9, 9, 3)),
            layers.BatchNormalization(epsilon=1e-6),
            layers.LeakyReLU(alpha=0.1),
            layers.MaxPooling2D(),
            layers.SeparableConv2D(4, 2, depth_multiplier=2),
            layers.ReLU(max_value=6.0, negative_slope=0.1, threshold=0.2),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same", output_padding=1),
            layers.PReLU(shared_axes=[1, 2]),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(4, 3, groups=2, dilation_rate=2),
            layers.LayerNormalization(axis=[1, 2, 3]),
            layers.GroupNormalization(2),
            layers.ELU(0.5),
            layers.ZeroPadding2D(((1, 2), (0, 1))),
            layers.Cropping2D(1),
            layers.AveragePooling2D(3, padding="same"),
            layers.SpatialDropout2D(0.2),
            layers.Conv2DTranspose(2, 2, strides=3),
            layers.GlobalAveragePooling2D(keepdims=True),
        ]
    )


def series() -> Any:
    return Sequential(
        [
            layers.Conv1D(4, 3, padding="causal", dilation_rate=2, input_shape=(12, 3)),
            layers.Conv1DTranspose(3, 3, strides=2, padding="same", output_padding=1),
            layers.SeparableConv1D(4, 3),
            layers.DepthwiseConv1D(3),
            layers.MaxPooling1D(2),
            layers.UpSampling1D(2),
            layers.ZeroPadding1D(1),
            layers.Cropping1D(1),
            layers.AveragePooling1D(2, padding="same"),
            layers.GlobalMaxPooling1D(),
        ]
    )


def volumes() -> Any:
    return Sequential(
        [
            layers.Conv3D(2, 2, input_shape=(4, 4, 4, 2)),
            layers.Conv3DTranspose(2, 2, strides=2),
            layers.UpSampling3D(),
            layers.ZeroPadding3D(),
            layers.Cropping3D(2),
            layers.MaxPooling3D(),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling3D(),
        ]
    )


def moving_images() -> Any:
    return Sequential(
        [
            layers.ConvLSTM2D(3, 2, input_shape=(4, 5, 5, 2), return_sequences=True),
            layers.ConvLSTM2D(2, 2, recurrent_activation="sigmoid"),
        ]
    )


def lstm() -> Any:
    steps = Input((6, 3), name="steps")
    hard = layers.LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True)(steps)
    outputs = [layers.LSTM(3, recurrent_activation="hard_sigmoid", go_backwards=True)(hard), layers.LSTM(2)(hard)]
    masked = layers.Masking()(steps)
    outputs += [
        layers.LSTM(3, return_sequences=True)(masked),
        layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True))(masked),
    ]
    return Model(steps, outputs)


def gru() -> Any:
    steps = Input((None, 3), name="steps")
    after = layers.GRU(4, reset_after=True, recurrent_activation="hard_sigmoid", return_sequences=True)(steps)
    before = layers.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid")(steps)
    both = layers.Bidirectional(layers.GRU(3, reset_after=False), merge_mode="sum")(after)
    return Model(steps, [both, before])


def cells() -> Any:
    stack = [layers.LSTMCell(3, recurrent_activation="hard_sigmoid"), layers.GRUCell(4, reset_after=False)]
    return Sequential(
        [
            layers.SimpleRNN(4, return_sequences=True, input_shape=(6, 3)),
            layers.RNN(stack, return_sequences=True),
            layers.RNN(layers.GRUCell(3)),
        ]
    )


def both_ways() -> Any:
    backwards = layers.GRU(4, go_backwards=True, return_sequences=True)
    return Sequential(
        [
            layers.Bidirectional(layers.LSTM(4, return_sequences=True), backward_layer=backwards, input_shape=(5, 2)),
            layers.TimeDistributed(layers.Dense(3, activation="hard_sigmoid")),
            layers.Bidirectional(layers.LSTM(2, recurrent_activation="hard_sigmoid")),
        ]
    )


def words() -> Any:
    return Sequential(
        [
            layers.Embedding(20, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2)),
            layers.GlobalAveragePooling1D(),
        ]
    )


def sentences() -> Any:
    return Sequential([layers.Embedding(20, 4, input_length=7), layers.LSTM(3), layers.Dense(2)])


def nested() -> Any:
    inner = Sequential([layers.Dense(3, input_shape=(4,), activation="relu"), layers.Dense(4)], name="inner")
    start = Input((4,))
    func = Model(start, [layers.Dense(2)(start), layers.Dense(3)(start)], name="func")
    left, right = Input((4,), name="left"), Input((4,), name="right")
    total = layers.Add()([inner(left), inner(right)])
    first, second = func(total)
    third, fourth = func(inner(total))
    shared = layers.Dense(3, name="shared")
    return Model(
        [left, right],
        [layers.Concatenate(name="joined")([first, second, third]), fourth, inner(total), shared(left), shared(right)],
    )


def nested_first() -> Any:
    return Sequential([Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(4)]), layers.Dense(2)])


def frozen() -> Any:
    def base(name: str) -> Any:
        return Sequential(
            [
                layers.Conv2D(2, 3, input_shape=(8, 8, 3)),
                layers.BatchNormalization(),
                layers.Conv2D(2, 3),
                layers.BatchNormalization(),
            ],
            name=name,
        )

    wholly, partly = base("wholly"), base("partly")
    wholly.trainable = False
    partly.layers[0].trainable = partly.layers[1].trainable = False
    image = Input((8, 8, 3))
    features = layers.Concatenate()([wholly(image, training=False), partly(image)])
    return Model(image, layers.Dense(2)(layers.GlobalMaxPooling2D()(features)))


def translation() -> Any:
    source = Input((6, 4), name="source")
    _, hidden, carried = layers.LSTM(5, return_state=True, name="encoder")(source)
    decoded = layers.LSTM(5, return_sequences=True, name="decoder")(source, initial_state=[hidden, carried])
    attended = layers.MultiHeadAttention(2, 3)(decoded, source, key=source)
    masked = layers.MultiHeadAttention(2, 3, output_shape=5, attention_axes=(1,))(
        query=source, value=source, use_causal_mask=True
    )
    scaled = layers.Attention(use_scale=True)([attended, attended])
    return Model(source, [decoded, attended, masked, scaled, layers.AdditiveAttention()([attended, attended])])


def states() -> Any:
    steps, first, second = Input((6, 4), name="steps"), Input((5,), name="first"), Input((5,), name="second")
    layer = layers.Bidirectional(layers.GRU(5, return_state=True, return_sequences=True))
    return Model([steps, first, second], layer(steps, initial_state=[first, second]))


def tensorflow_functions() -> Any:
    x = Input((6, 4), name="x")
    part = 3.0 - (tf.math.multiply(x[:, 1:3], 2.0) + 1.0)
    part = tf.cast(tf.nn.relu(tf.concat([part, part], -1)) + 0.1, tf.float32)
    flat = tf.reshape(part, [tf.shape(x)[0], -1])
    flat = flat / tf.reduce_sum(flat, axis=-1, keepdims=True)
    similar = tf.exp(tf.matmul(flat, flat, transpose_b=True))
    chosen = tf.where(similar > 1.2, similar, -similar) * tf.sqrt(similar) ** 2
    halves = tf.split(x, 2, axis=-1)
    return Model(
        x,
        [
            tf.transpose(tf.expand_dims(chosen, -1), [0, 2, 1]),
            tf.stack([halves[0], halves[1]], axis=1)[..., 0],
            tf.clip_by_value(tf.math.l2_normalize(x, -1), 0.0, 0.5),
            tf.gather(x, [0, 2], axis=1),
            tf.pad(x, [[0, 0], [1, 1], [0, 0]]),
            tf.unstack(x, axis=1)[1],
            x[:, -1],
            x[:, 0, tf.newaxis],
        ],
    )


def few_functions() -> Any:
    x = Input((6, 4), name="x")
    return Model(x, layers.Dense(2)(tf.nn.relu(1.0 - x[:, 1:3] * 2.0)))


def arrays() -> Any:
    x = Input((5, 5, 3))
    y = layers.UnitNormalization()(layers.LayerNormalization()(x))
    y = layers.Masking()(layers.Reshape((25, 3))(layers.Permute((2, 1, 3))(y)))
    y = layers.RepeatVector(2)(layers.Flatten()(layers.Dot((2, 2), normalize=True)([y, y])))
    z = layers.Softmax()(y)
    merges = [layers.Average, layers.Maximum, layers.Minimum, layers.Multiply, layers.Subtract]
    projected = layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")(y)
    return Model(x, [projected, *(merge()([y, z]) for merge in merges)])


def pictures() -> Any:
    normalise = layers.Normalization(axis=-1)
    normalise.adapt(np.random.default_rng(0).normal(size=(50, 8, 8, 3)).astype(np.float32) * 3)
    return Sequential(
        [
            Input((8, 8, 3), dtype="uint8"),
            layers.RandomFlip(),
            layers.Rescaling(1 / 3, offset=-0.2),
            normalise,
            layers.Resizing(12, 10),
            layers.CenterCrop(7, 9),
            layers.RandomRotation(0.2),
            layers.RandomZoom(0.1),
            layers.RandomContrast(0.1),
            layers.RandomHeight(0.1),
            layers.RandomTranslation(0.1, 0.1),
            layers.Resizing(5, 6, crop_to_aspect_ratio=True),
            layers.RandomCrop(4, 4),
        ]
    )


def categories() -> Any:
    number, whole = Input((1,), name="number"), Input((1,), dtype="int64", name="whole")
    text = Input((1,), dtype="string", name="text")
    parts = [
        layers.Discretization(bin_boundaries=[0.0, 1.0], output_mode="one_hot")(number),
        layers.CategoryEncoding(4, output_mode="multi_hot")(
            layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.5])(number)
        ),
        layers.CategoryEncoding(10, output_mode="one_hot")(whole),
        layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode="one_hot")(whole),
        layers.HashedCrossing(4, output_mode="one_hot")((text, whole)),
        layers.Flatten()(layers.Embedding(6, 3)(layers.StringLookup(vocabulary=["a", "b", "c"])(text))),
        layers.Flatten()(layers.Embedding(5, 2)(layers.Hashing(5, salt=3)(text))),
        layers.Normalization(mean=1.5, variance=2.0)(number),
    ]
    return Model([number, whole, text], layers.Dense(3)(layers.Concatenate()(parts)))


def vocabularies() -> Any:
    text, whole = Input((1,), dtype="string", name="text"), Input((1,), dtype="int64", name="whole")
    vectorise = layers.TextVectorization(output_sequence_length=4)
    vectorise.adapt(["a b c", "b c"])
    strings, integers = layers.StringLookup(), layers.IntegerLookup()
    strings.adapt(["a", "zz"])
    integers.adapt([4, 5])
    return Model([text, whole], [layers.Embedding(10, 2)(vectorise(text)), strings(text), integers(whole)])


def precisions() -> Any:
    keras.mixed_precision.set_global_policy("mixed_float16")
    half = layers.Dense(4, activation="hard_sigmoid")
    keras.mixed_precision.set_global_policy("float32")
    x = Input((3,))
    return Model(x, [layers.Dense(2, dtype="float32")(half(x)), layers.Dense(2, dtype="float64")(x)])


def names() -> Any:
    inputs = {"p": Input((3,), name="p"), "q": Input((3,), name="q")}
    total = layers.Dense(3, name="top/total")(layers.Add(name="top/add")([inputs["p"], inputs["q"]]))
    return Model(inputs, {"total": total, "part": layers.Dense(2)(inputs["q"])})


def over_time() -> Any:
    base = Sequential([layers.Dense(3, input_shape=(4,)), layers.BatchNormalization()])
    fixed, free = Input((3, 4), name="fixed"), Input((None, 5, 3), name="free")
    convolved = layers.TimeDistributed(layers.Flatten())(layers.TimeDistributed(layers.Conv1D(2, 2))(free))
    return Model([fixed, free], [layers.TimeDistributed(base)(fixed), convolved])


def on_gpu() -> Any:
    """Layers that run on a GPU only; their answers come from the ordinary layers, given the same weights by Keras 2."""
    steps = Input((5, 3), name="steps")
    long = CuDNNLSTM(4, return_sequences=True)(steps)
    both = layers.Bidirectional(CuDNNGRU(3))(long)
    return Model(steps, [layers.Dense(2)(both), CuDNNLSTM(2, go_backwards=True)(long)])


def on_cpu() -> Any:
    steps = Input((5, 3), name="steps")
    long = layers.LSTM(4, return_sequences=True)(steps)
    both = layers.Bidirectional(layers.GRU(3, reset_after=True))(long)
    return Model(steps, [layers.Dense(2)(both), layers.LSTM(2, go_backwards=True)(long)])


MODELS: dict[str, Callable[[], Any]] = {
    made.__name__: made
    for made in (
        dense, images, series, volumes, moving_images, lstm, gru, cells, both_ways, words, sentences, nested,
        nested_first, frozen, translation, states, tensorflow_functions, few_functions, arrays, pictures, categories,
        vocabularies, precisions, names, over_time,
        on_gpu,
    )
}  # fmt: skip


def fill(model: Any, rng: np.random.Generator) -> None:
    """Give every weight of floating point a value that matters."""
    for variable in model.weights:
        if not hasattr(variable, "dtype") or not variable.dtype.is_floating:
            continue
        values = rng.normal(size=variable.shape) * 0.5
        variable.assign(
            (abs(values) + 0.1 if "variance" in variable.name else values).astype(variable.dtype.as_numpy_dtype)
        )
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()


def example(name: str, tensor: Any, rng: np.random.Generator) -> Any:
    shape = [3 if axis == 0 else 7 if size is None else size for axis, size in enumerate(tensor.shape)]
    kind = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    if kind == "string":
        return rng.choice(WORDS, size=shape)
    if kind.startswith(("int", "uint")):
        return rng.integers(0, 9, size=shape).astype(kind)
    if name.startswith("embedding"):
        return rng.integers(0, 5, size=shape).astype(kind)
    return rng.normal(size=shape).astype(kind)


def write(name: str, archive: zipfile.ZipFile, folder: Path) -> None:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = MODELS[name]()
    if name == "words":
        model.build((None, None))
        model(np.ones((1, 7)))
    fill(model, rng)
    inputs = {tensor.name: example(tensor.name, tensor, rng) for tensor in model.inputs}
    given: Any = inputs if isinstance(model.input, dict) else list(inputs.values())
    executed = model
    if name == "on_gpu":
        model.save(folder / "on_gpu.h5")
        executed = on_cpu()
        executed.load_weights(folder / "on_gpu.h5")
    outputs = tf.nest.flatten(
        executed(given[0] if isinstance(given, list) and len(given) == 1 else given, training=False)
    )
    arrays = {f"in:{key}": value for key, value in inputs.items()}
    arrays |= {f"out:{index}": np.asarray(value) for index, value in enumerate(outputs)}
    content = io.BytesIO()
    np.savez(content, **arrays)
    _store(archive, f"{name}.npz", content.getvalue())
    for suffix, others in (("h5", KERAS_ONLY), ("keras", H5_ONLY)):
        if name not in others:
            model.save(folder / f"{name}.{suffix}")
            _store(archive, f"{name}.{suffix}", (folder / f"{name}.{suffix}").read_bytes())


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)


def main() -> None:
    warnings.simplefilter("ignore")
    target = Path(sys.argv[1], "references.zip")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w") as archive:
        for name in MODELS:
            write(name, archive, Path(folder))
            keras.backend.clear_session()
    print(f"{target}: {target.stat().st_size} bytes, {len(MODELS)} models by tf-keras {keras.__version__}")


if __name__ == "__main__":
    main()
