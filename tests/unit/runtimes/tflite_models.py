"""The ``.tflite`` files the tests load: converted from TensorFlow, or put together table by table."""

from __future__ import annotations

import warnings

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

RNG = np.random.default_rng(7)
TYPES = {name.lower(): value for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


_made = []


def converted(tf, keras, tmp_path_factory):
    """A folder with everything that the converter makes, made once; each file by its name."""
    if not _made:
        _made.append(tmp_path_factory.mktemp("tflite"))
        write_all(tf, keras, _made[0])
    return _made[0]


def write_all(tf, keras, root):
    (root / "mixing.tflite").write_bytes(mixing().build())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, converter in _converters(tf, keras, root).items():
            (root / f"{name}.tflite").write_bytes(converter.convert())


def _converters(tf, keras, root):
    lite = tf.lite.TFLiteConverter
    dense, kernel, pointwise = weights(4, 3), weights(3, 3, 3, 8), weights(8, 5)

    def of(function, *shapes, dtype=tf.float32):
        specs = [tf.TensorSpec(shape, dtype, name=name) for shape, name in zip(shapes, "xyz", strict=False)]
        traced = tf.function(function, input_signature=specs, autograph=False)
        return lite.from_concrete_functions([traced.get_concrete_function()])

    def convolve(x):
        features = tf.nn.relu(tf.nn.conv2d(x, kernel, 2, "SAME"))
        return tf.nn.softmax(tf.reduce_mean(features, [1, 2]) @ pointwise)

    def swap(x):
        return tf.reshape(tf.transpose(tf.reshape(x, [1, 2, 2]), [0, 2, 1]), [1, 4]) @ dense

    def quantised(kind):
        converter = of(convolve, [None, 16, 16, 3])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if kind == "int8":
            rng = np.random.default_rng(0)
            images = [rng.random((1, 16, 16, 3), np.float32) for _ in range(8)]
            converter.representative_dataset = lambda: ([image] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
        return converter

    class Several(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
        def add(self, x):
            return {"sum": x + 1.0}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([1], tf.float32)])
        def positions(self, x, least):
            return {"found": tf.where(x > least), "doubled": x * 2.0}

    class Counter(tf.Module):
        def __init__(self):
            self.total = tf.Variable(tf.zeros([3]))

        @tf.function(input_signature=[tf.TensorSpec([3], tf.float32)])
        def add(self, x):
            return {"total": self.total.assign_add(x)}

    several, counter = Several(), Counter()
    tf.saved_model.save(
        several, str(root / "several"), signatures={"positions": several.positions, "serving_default": several.add}
    )
    counting = lite.from_concrete_functions([counter.add.get_concrete_function()], counter)
    counting.experimental_enable_resource_variables = True
    steps = keras.Input((6, 3), batch_size=1, name="steps")
    recurrent = keras.Model(steps, keras.layers.LSTM(4, name="summary")(steps))
    return {
        "dense": of(lambda x: tf.nn.relu(x @ dense), [None, 4]),
        "one_row": of(lambda x: tf.nn.softmax(x @ dense), [1, 4]),
        "one_row_of_two": of(lambda x, y: [x @ dense, tf.concat([x, y], 1)], [1, 4], [1, 2]),
        "stuck": of(swap, [1, 4]),
        "alike": of(lambda x: x * 0.0, [1, 4]),
        "convolution": of(convolve, [None, 16, 16, 3]),
        "dynamic_range": quantised("dynamic_range"),
        "float16": quantised("float16"),
        "int8": quantised("int8"),
        "dynamic": of(lambda x: tf.reduce_sum(x * 2.0, -1), [None, None, 3]),
        "strings": of(lambda x: [tf.identity(x), tf.gather(x, [1])], [None], dtype=tf.string),
        "where": of(lambda x: tf.where(x > 0), [None]),
        "loop": of(
            lambda x: tf.while_loop(lambda i, a: i < x[0], lambda i, a: (i + 1.0, a * 2.0), [0.0, tf.constant(1.0)])[1],
            [1],
        ),
        "several": lite.from_saved_model(str(root / "several"), signature_keys=["positions", "serving_default"]),
        "counter": counting,
        "lstm": lite.from_keras_model(recurrent),
    }


class Flat:
    """A model put together by hand. Tensors are referred to by the order they were added in."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.metadata = []
        self.model.signatureDefs = []
        self.model.subgraphs = []
        self.graph()

    def graph(self):
        """Begin another graph, where what follows goes."""
        self.main = schema.SubGraphT()
        self.main.tensors, self.main.operators, self.main.inputs, self.main.outputs = [], [], [], []
        self.model.subgraphs.append(self.main)
        return self

    def buffer(self, content):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def tensor(self, name, shape=(1, 2), dtype="float32", *, signature=None, constant=None, variable=False, scale=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), TYPES[dtype]
        tensor.shapeSignature = signature
        tensor.isVariable = variable
        if constant is not None:
            tensor.buffer = self.buffer(constant if isinstance(constant, bytes) else constant.tobytes())
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale[0]], [scale[1]]
        self.main.tensors.append(tensor)
        return len(self.main.tensors) - 1

    def operator(self, code, inputs, outputs, *, custom=None, options=None, kind=0):
        found = schema.OperatorCodeT()
        found.builtinCode, found.deprecatedBuiltinCode, found.version = code, min(code, 127), 1
        found.customCode = custom
        self.model.operatorCodes.append(found)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.main.operators.append(operator)
        return operator

    def ports(self, inputs, outputs):
        self.main.inputs, self.main.outputs = list(inputs), list(outputs)
        return self

    def signature(self, key, inputs, outputs, subgraph=0):
        found = schema.SignatureDefT()
        found.signatureKey, found.subgraphIndex = key.encode(), subgraph
        found.inputs, found.outputs = self._maps(inputs), self._maps(outputs)
        self.model.signatureDefs.append(found)
        return self

    def describe(self, content, name="TFLITE_METADATA"):
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), self.buffer(content)
        self.model.metadata.append(entry)
        return self

    def build(self):
        builder = flatbuffers.Builder()
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def _maps(ports):
        maps = []
        for name, index in ports.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            maps.append(entry)
        return maps


def identity(dtype="float32", shape=(2,), name="x"):
    """One tensor, input and output at once."""
    flat = Flat()
    flat.tensor(name, shape, dtype)
    return flat.ports([0], [0])


def absolute(**tensor):
    """One operation, ABS, from ``x`` to ``y``."""
    flat = Flat()
    flat.tensor("x", **tensor)
    flat.tensor("y", **tensor)
    flat.operator(schema.BuiltinOperator.ABS, [0], [1])
    return flat.ports([0], [1])


def custom(name, custom_options=None):
    """One custom operation."""
    flat = Flat()
    flat.tensor("x")
    flat.tensor("y")
    flat.operator(schema.BuiltinOperator.CUSTOM, [0], [1], custom=name.encode()).customOptions = custom_options
    return flat.ports([0], [1])


def recurrent():
    """A cell that adds its input to what it held: state in a variable tensor."""
    flat = Flat()
    flat.tensor("x", (1, 2))
    flat.tensor("in", (2, 2), constant=np.eye(2, dtype=np.float32))
    flat.tensor("again", (2, 2), constant=np.eye(2, dtype=np.float32))
    flat.tensor("bias", (2,), constant=np.zeros(2, np.float32))
    flat.tensor("state", (1, 2), variable=True)
    flat.tensor("y", (1, 2))
    flat.operator(
        schema.BuiltinOperator.RNN,
        [0, 1, 2, 3, 4],
        [5],
        options=schema.RNNOptionsT(),
        kind=schema.BuiltinOptions.RNNOptions,
    )
    return flat.ports([0], [5])


def mixing():
    """Each row plus the mean of all of them; the converter would fold that away for one row."""
    flat = Flat()
    flat.tensor("x", (1, 4))
    flat.tensor("axis", (1,), "int32", constant=np.zeros(1, np.int32))
    flat.tensor("mean", (1, 4))
    flat.tensor("y", (1, 4))
    options = schema.ReducerOptionsT()
    options.keepDims = True
    flat.operator(schema.BuiltinOperator.MEAN, [0, 1], [2], options=options, kind=schema.BuiltinOptions.ReducerOptions)
    flat.operator(schema.BuiltinOperator.ADD, [0, 2], [3])
    return flat.ports([0], [3])


def metadata(inputs, outputs, magic=b"M001"):
    """TensorFlow Lite metadata that only names inputs and outputs."""
    builder = flatbuffers.Builder()

    def table(fields):
        builder.StartObject(max(fields) + 1)
        for slot, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return builder.EndObject()

    def vector(items):
        builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            builder.PrependUOffsetTRelative(item)
        return builder.EndVector()

    def named(names):
        return vector([table({0: text}) for text in [builder.CreateString(name) for name in names]])

    graph = table({2: named(inputs), 3: named(outputs)})
    builder.Finish(table({3: vector([graph])}), magic)
    return bytes(builder.Output())
