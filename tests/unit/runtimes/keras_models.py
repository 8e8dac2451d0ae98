"""The ``.keras`` files the tests load."""

from __future__ import annotations


def write_all(keras, root):
    layers = keras.layers
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    total = layers.Dense(2, name="total")(layers.add([left, right]))
    keras.Model([left, right], [total, layers.Dense(3, name="one_side")(left)]).save(root / "two_by_two.keras")
    keras.Model({"right": right, "left": left}, {"a": total, "b": layers.Dense(1)(right)}).save(root / "mapping.keras")

    keras.Sequential(
        [keras.Input((8, 8, 1), name="image"), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dropout(0.5),
         layers.Flatten(), layers.Dense(3)]
    ).save(root / "sequential.keras")  # fmt: skip

    fixed = keras.Input(batch_shape=(2, 4), name="fixed")
    keras.Model(fixed, layers.Dense(1, name="y")(fixed)).save(root / "fixed.keras")

    vectorise = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    vectorise.adapt(["a b c", "c d"])
    text = keras.Input((), dtype="string", name="text")
    keras.Model(text, layers.Embedding(20, 3, name="vectors")(vectorise(text))).save(root / "text.keras")

    steps = keras.Input((10, 3), name="steps")
    keras.Model(steps, layers.LSTM(8, name="summary")(steps)).save(root / "lstm.keras")

    twice = keras.Input((4,), name="x")
    shared = layers.Dense(2, name="shared")
    keras.Model(twice, [shared(twice), shared(twice * 2.0)]).save(root / "same_layer.keras")

    plain = keras.Input((4,), name="x")
    keras.Model(plain, layers.Lambda(lambda x: x * 2.0)(plain)).save(root / "lambda.keras")

    class Unknown(layers.Layer):
        def call(self, x):
            return x + 1.0

    keras.Model(plain, Unknown()(plain)).save(root / "unknown.keras")
